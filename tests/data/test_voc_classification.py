import numpy as np
import pytest
import torch
from PIL import Image

from dds.data.voc_classification import VocClassification
from dds.errors import InputError

OBJECT = """<object><name>{}</name><pose>Left</pose><truncated>0</truncated><difficult>{}</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>
<part><name>head</name><bndbox><xmin>2</xmin></bndbox></part></object>"""

OBJECTS = {
    "2008_000001": [("aeroplane", 0), ("aeroplane", 0)],
    "2008_000002": [("dog", 0), ("person", 1)],
    "2008_000003": [("dog", 0), ("tvmonitor", 0)],
    "2008_000004": [("cat", 0), ("cat", 1)],
    "2008_000005": [("cow", 1)],
}


def write_voc(release, objects=OBJECTS):
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (release / folder).mkdir(parents=True)
    for name, things in objects.items():
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(release / "JPEGImages" / f"{name}.jpg")
        xml = f"<annotation><filename>{name}.jpg</filename>{''.join(OBJECT.format(*x) for x in things)}"
        (release / "Annotations" / f"{name}.xml").write_text(xml + "</annotation>")
    for name in ("train", "val"):
        (release / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(objects) + "\n")
    return str(release)


def test_multi_label(tmp_path):
    batch = next(iter(VocClassification(write_voc(tmp_path), multi_label=True).test_dataloader()))
    expected = torch.zeros(5, 20)
    expected[0, 0] = 1  # aeroplane
    expected[1, 11], expected[1, 14] = 1, -1  # dog, difficult person
    expected[2, 11] = expected[2, 19] = 1  # dog, tvmonitor
    expected[3, 7] = 1  # a plain and a difficult cat
    expected[4, 9] = -1  # difficult cow
    assert batch["labels"].dtype == torch.float32
    assert torch.equal(batch["labels"], expected)
    assert "label" not in batch


def test_single_label_leaves_out_images_of_several_classes_or_of_none(tmp_path):
    batch = next(iter(VocClassification(write_voc(tmp_path)).test_dataloader()))
    assert batch["label"].tolist() == [0, 11, 7]
    assert batch["image"].shape == (3, 3, 20, 30)
    assert "labels" not in batch


def test_size(tmp_path):
    data = VocClassification(write_voc(tmp_path), size=(16, 16))
    assert data.load("val")[0]["image"].shape == data.load("train")[0]["image"].shape == (3, 16, 16)


def test_real_annotations(shared_data, tmp_path):
    source = shared_data / "segmentation_samples" / "voc_layout"
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder).symlink_to(source / folder)
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    names = (source / "ImageSets" / "Segmentation" / "val.txt").read_text()
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text(names)
    dataset = VocClassification(str(tmp_path), multi_label=True).load("val")
    shown = dataset[2]["labels"].nonzero().flatten().tolist()
    assert shown == [5, 6]  # a bus and cars, as in the mask of the same photograph


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (f"<annotation>{OBJECT.format('unicorn', 0)}</annotation>", "a 'unicorn'; expected one of aeroplane"),
        ("<annotation><object>", "2008_000001.xml cannot be read as XML"),
        (None, r"1 of 5 files do not exist, e\.g\. .*2008_000001\.xml\. Download VOCtrainval"),
    ],
)
def test_bad_annotations_are_found_before_the_run(tmp_path, xml, words):
    root, path = write_voc(tmp_path), tmp_path / "Annotations" / "2008_000001.xml"
    path.write_text(xml) if xml else path.unlink()
    with pytest.raises(InputError, match=words):
        VocClassification(root).test_dataset()
