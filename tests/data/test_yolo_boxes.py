import numpy as np
import pytest
import torch
from PIL import Image

from dds.coco_ids import COCO_IDS, COCO_NAMES
from dds.data.yolo_boxes import YoloBoxes
from dds.errors import InputError


def write_yolo(root, labels, split="val2017"):
    for number, text in enumerate(labels):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.zeros((50, 100, 3), dtype=np.uint8))
        image.save(root / "images" / split / f"{number:012d}.jpg")
        if text is not None:
            (root / "labels" / split / f"{number:012d}.txt").write_text(text)
    return str(root)


def test_shares_become_pixels_and_classes_coco_ids(tmp_path):
    root = write_yolo(tmp_path, ["0 0.5 0.5 0.2 0.4\n79 0.25 0.5 0.5 1.0\n", "", None])
    dataset = YoloBoxes(root, size=None).load("test")
    assert len(dataset) == 3
    assert torch.allclose(dataset[0]["boxes"], torch.tensor([[40.0, 15, 60, 35], [0, 0, 50, 50]]))
    assert dataset[0]["classes"].tolist() == [1, 90]
    assert not dataset[0]["crowd"].any()
    for index in (1, 2):
        assert dataset[index]["classes"].tolist() == [-1, -1]


OWN = ["cat", "traffic light", "zwölf"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", f"nc: 3\nnames: {OWN}\n"),
        ("data.yaml", "names:\n  1: b\n  0: a\n  2: c\n"),
        ("classes.txt", "\n".join(OWN) + "\n\n"),
        ("labels/val2017/classes.txt", "\r\n".join(OWN)),
    ],
)
def test_own_classes_count_from_one(tmp_path, name, text):
    root = write_yolo(tmp_path, ["0 0.5 0.5 0.2 0.4\n2 0.25 0.5 0.5 1.0\n"])
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert YoloBoxes(root, size=None).load("test")[0]["classes"].tolist() == [1, 3]
    (tmp_path / "labels/val2017" / f"{0:012d}.txt").write_text("3 0.5 0.5 0.2 0.4")
    with pytest.raises(InputError, match="has the class 3; expected 0 to 2"):
        YoloBoxes(root).load("test")


def test_a_class_list_elsewhere(tmp_path):
    root = write_yolo(tmp_path / "valid", ["1 0.5 0.5 0.2 0.4"], split=".")
    (tmp_path / "data.yaml").write_text("names: [a, b]")
    data = YoloBoxes(root, size=None, test_split=".", names="../data.yaml")
    assert data.load("test")[0]["classes"].tolist() == [2]


def test_a_list_of_coco_s_classes_means_coco_s_ids(tmp_path):
    root = write_yolo(tmp_path, ["79 0.5 0.5 0.2 0.4"])
    (tmp_path / "data.yaml").write_text(f"names: {list(COCO_NAMES)}")
    assert YoloBoxes(root, size=None).load("test")[0]["classes"].tolist() == [90]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "nc: 3"),
        ("data.yaml", "names: {0: a, 2: b}"),
        ("data.yaml", "names: ["),
        ("data.yaml", "- a"),
        ("classes.txt", "a\n\nb\n"),
        ("classes.txt", ""),
    ],
)
def test_a_class_list_that_is_none(tmp_path, name, text):
    root = write_yolo(tmp_path, ["0 0.5 0.5 0.2 0.4"])
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"{name} holds no class names"):
        YoloBoxes(root).load("test")


def test_an_absent_class_list(tmp_path):
    with pytest.raises(InputError, match=r"no class list .*own\.txt"):
        YoloBoxes(write_yolo(tmp_path, [""]), names="own.txt").load("test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("80 0.5 0.5 0.2 0.4", "has the class 80; expected 0 to 79"),
        ("1.5 0.5 0.5 0.2 0.4", "has the class 1.5"),
        ("-1 0.5 0.5 0.2 0.4", "has the class -1"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", "not five numbers"),
        ("0 0.5 0.5 0.2", "not five numbers"),
        ("0 0.5 0.5 0.2 0.4\n0 0.5", "not five numbers"),
        ("dog 0.5 0.5 0.2 0.4", "not five numbers"),
        ("0 0.5 0.5 -0.2 0.4", "of no negative size"),
        ("0 40 15 60 35", "inside the image"),
    ],
)
def test_lines_that_are_no_boxes(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        YoloBoxes(write_yolo(tmp_path, [text])).test_dataset()


def test_absent_folders_say_how_they_should_look(tmp_path):
    with pytest.raises(InputError, match=r"0 images in .*Set data\.root"):
        YoloBoxes(str(tmp_path)).test_dataset()


def test_a_text_file_without_its_image(tmp_path):
    root = write_yolo(tmp_path, ["0 0.5 0.5 0.2 0.4", ""])
    (tmp_path / "images" / "val2017" / f"{1:012d}.jpg").unlink()
    with pytest.raises(InputError, match=r"1 text files lack an image, e\.g\. .*1\.txt"):
        YoloBoxes(root).test_dataset()


def test_a_file_that_is_no_image(tmp_path):
    root = write_yolo(tmp_path, ["0 0.5 0.5 0.2 0.4"])
    path = tmp_path / "images" / "val2017" / f"{0:012d}.jpg"
    path.write_text("<html>")
    with pytest.raises(InputError, match=str(path)):
        YoloBoxes(root).test_dataset()


def test_real_boxes_surround_the_real_masks(shared_data):
    """COCO's panoptic masks, in category ids, say where the only object of its class lies."""
    root = shared_data / "coco64"
    data = YoloBoxes(str(root), size=None, labels="object_detection/labels")
    dataset, masks = data.load("test"), sorted((root / "semantic_segmentation/masks/val2017").glob("*.png"))
    assert len(dataset) == len(masks) == 64
    distances = []
    for index in range(0, 64, 4):
        sample, mask = dataset[index], torch.from_numpy(np.array(Image.open(masks[index])))
        classes = sample["classes"].tolist()
        for box, number in zip(sample["boxes"], classes, strict=True):
            where = torch.nonzero(mask == number)
            if classes.count(number) == 1 and len(where):
                (y1, x1), (y2, x2) = where.min(0).values, where.max(0).values + 1
                distances.append((box - torch.stack([x1, y1, x2, y2])).abs().max().item())
    assert len(distances) > 15
    # Other objects hide some of the mask but not of the box, hence not all agree.
    assert np.median(distances) < 1
    assert np.mean(np.array(distances) < 4) > 0.9


def test_class_order_is_that_of_the_real_names(shared_data):
    yaml = pytest.importorskip("yaml")
    folder = shared_data / "coco64"
    yolo = yaml.safe_load((folder / "object_detection/config.yaml").read_text())["names"]
    coco = yaml.safe_load((folder / "semantic_segmentation/config.yaml").read_text())["classes"]
    named = {COCO_IDS[number]: name for number, name in yolo.items()}
    assert tuple(yolo.values()) == COCO_NAMES
    common = [number for number in named if number in coco]
    assert len(common) > 60
    assert [named[number] for number in common] == [coco[number] for number in common]
