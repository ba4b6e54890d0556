import json

import numpy as np
import pytest
from PIL import Image

from dds.data.coco import CocoDetection
from dds.data.coco_boxes import CocoBoxes
from dds.errors import InputError

coco = pytest.importorskip("pycocotools.coco")


def content():
    """Three images: two objects and a crowd, none, one."""
    objects = [(1, 397133, 18, [10.5, 20.25, 30, 15.5], 0), (2, 397133, 90, [0, 0, 64, 48], 0)]
    objects += [(3, 397133, 1, [5, 5, 50, 20], 1), (4, 252219, 1, [1, 2, 3, 4], 0)]
    return {
        "info": {},
        "licenses": [],
        "images": [
            {"id": number, "file_name": f"{number:012d}.jpg", "width": 64, "height": 48, "license": 1}
            for number in (397133, 37777, 252219)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": crowd,
                "segmentation": {"size": [48, 64], "counts": [3072]} if crowd else [[0, 0, 1, 0, 1, 1]],
            }
            for number, image, category, box, crowd in objects
        ],
        "categories": [
            {"id": 1, "name": "person", "supercategory": "person"},
            {"id": 18, "name": "dog", "supercategory": "animal"},
            {"id": 90, "name": "toothbrush", "supercategory": "indoor"},
        ],
    }


def write_coco(root, annotations=None, name="val2017"):
    annotations = annotations or content()
    (root / "annotations").mkdir(exist_ok=True)
    (root / name).mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(annotations))
    for image in annotations["images"]:
        Image.fromarray(np.zeros((48, 64, 3), dtype=np.uint8)).save(root / name / image["file_name"])
    return root


def test_targets_are_those_of_pycocotools(tmp_path, capsys):
    root = write_coco(tmp_path)
    reference = coco.COCO(str(root / "annotations" / "instances_val2017.json"))
    dataset = CocoDetection(str(root), size=None).load("test")
    numbers = [397133, 37777, 252219]
    assert len(dataset) == len(reference.getImgIds())
    for sample, number in zip((dataset[index] for index in range(3)), numbers, strict=True):
        wanted = reference.loadAnns(reference.getAnnIds(number))
        used = sample["classes"] >= 0
        assert sample["classes"][used].tolist() == [entry["category_id"] for entry in wanted]
        assert sample["crowd"][used].int().tolist() == [entry["iscrowd"] for entry in wanted]
        x1, y1, x2, y2 = sample["boxes"][used].T
        found = list(zip(*(edge.tolist() for edge in (x1, y1, x2 - x1, y2 - y1)), strict=True))
        assert found == [tuple(entry["bbox"]) for entry in wanted]


def test_a_batch_of_letterboxes(tmp_path):
    batch = next(
        iter(CocoDetection(str(write_coco(tmp_path)), size=(96, 96), batch_size=3).test_dataloader())
    )
    assert batch["image"].shape == (3, 3, 96, 96)
    assert batch["boxes"][0, 0].tolist() == [15.75, 30.375, 60.75, 53.625]  # one and a half times as large
    assert batch["classes"].tolist() == [[18, 90, 1], [-1, -1, -1], [1, -1, -1]]


def test_training_images_lie_elsewhere(tmp_path):
    write_coco(tmp_path, name="train2017")
    data = CocoDetection(str(tmp_path), batch_size=2)
    assert next(iter(data.train_dataloader()))["image"].shape == (2, 3, 640, 640)
    with pytest.raises(InputError, match=r"instances_val2017\.json.*Download val2017\.zip"):
        data.test_dataset()


@pytest.mark.parametrize(
    ("where", "change", "message"),
    [
        ("annotations", {"image_id": 5}, "annotation 1 has image_id 5, which the file does not list"),
        ("annotations", {"category_id": 12}, "annotation 1 has category_id 12"),
        ("annotations", {"bbox": [1, 2, 3]}, "not in the form of COCO's instances"),
        ("annotations", {"bbox": [10, 10, -5, 5]}, "box"),
        ("annotations", {"bbox": [60, 10, 15, 5]}, "inside the image"),
        ("images", {"id": 37777}, "1 entries share their id"),
        ("images", {"file_name": "other.jpg"}, None),
    ],
)
def test_annotations_that_do_not_fit_together(tmp_path, where, change, message):
    annotations = content()
    annotations[where][0].update(change)
    write_coco(tmp_path, annotations)
    if message is None:
        (tmp_path / "val2017" / "other.jpg").unlink()
        message = r"1 of 3 files do not exist, e\.g\. .*other\.jpg"
    with pytest.raises(InputError, match=message):
        CocoDetection(str(tmp_path)).test_dataset()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"images": [], "categories": []}'])
def test_another_file_in_its_place(tmp_path, text):
    write_coco(tmp_path)
    (tmp_path / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(InputError, match=r"instances_val2017\.json.*Download"):
        CocoDetection(str(tmp_path)).test_dataset()


def own_content(first):
    """A file of another tool: categories of other numbers, no sizes of images."""
    own = content()
    number = {1: first, 18: first + 2, 90: first + 7}
    for entry in own["categories"]:
        entry["id"] = number[entry["id"]]
    for entry in own["annotations"]:
        entry["category_id"] = number[entry["category_id"]]
    for image in own["images"]:
        del image["height"], image["width"]
    return own


@pytest.mark.parametrize(("first", "from_one", "classes"), [(1, False, [3, 8, 1]), (0, True, [2, 3, 1])])
def test_a_file_anywhere(tmp_path, first, from_one, classes):
    root = write_coco(tmp_path, own_content(first))
    path = (root / "annotations" / "instances_val2017.json").rename(tmp_path / "own.json")
    data = CocoBoxes(str(root / "val2017"), str(path), size=None, from_one=from_one)
    sample = data.load("test")[0]
    assert sample["classes"].tolist() == classes
    assert sample["boxes"][0].tolist() == [10.5, 20.25, 40.5, 35.75]
    with pytest.raises(InputError, match="train_annotations"):
        data.train_dataloader()


def test_categories_from_0_are_no_classes(tmp_path):
    root = write_coco(tmp_path, own_content(0))
    data = CocoBoxes(str(root / "val2017"), str(root / "annotations" / "instances_val2017.json"))
    with pytest.raises(InputError, match=r"category 0.*data\.from_one=true"):
        data.load("test")


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"own\.json does not exist\. Set data\.annotations"):
        CocoBoxes(str(tmp_path), str(tmp_path / "own.json")).load("test")
