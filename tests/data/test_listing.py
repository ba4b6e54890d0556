"""What lies hidden beside data is none, in every reader that looks for files."""

import numpy as np
import pytest
from PIL import Image
from test_coco import write_coco
from test_files import corner, save_turned
from test_image_folder import write_classes
from test_yolo_boxes import write_yolo

from dds.data import (
    Ade20k,
    CamVid,
    Cityscapes,
    CocoBoxes,
    DepthPairs,
    ImageFolder,
    SegmentationPairs,
    YoloBoxes,
)
from dds.data.listing import list_images
from dds.errors import InputError


def write_both(image, other, kind="uint8"):
    """Write a picture on its side, and classes or depth as the picture shows it: 8 in its white corner."""
    save_turned(image, corner(), 6)
    other.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((corner()[..., 0] > 0).astype(kind) + 7).save(other)
    return other


def write_ade(root):
    target = write_both(root / "images/validation/a.jpg", root / "annotations/validation/a.png")
    return Ade20k(str(root)), target


def write_camvid(root):
    target = write_both(root / "val/a.png", root / "valannot/a.png")
    return CamVid(str(root), size=None), target


def write_cityscapes(root):
    mask = root / "gtFine/val/b/b_1_gtFine_labelIds.png"
    target = write_both(root / "leftImg8bit/val/b/b_1_leftImg8bit.png", mask)
    return Cityscapes(str(root)), target


def write_depth_pairs(root):
    target = write_both(root / "a_rgb.png", root / "a_depth.png", "uint16")
    return DepthPairs(str(root), depth_scale=1), target


def write_segmentation_pairs(root):
    target = write_both(root / "images/a.jpg", root / "masks/a.png")
    return SegmentationPairs(str(root)), target


PIXELS = [write_ade, write_camvid, write_cityscapes, write_depth_pairs, write_segmentation_pairs]


def hide(root):
    """Put beside each file what macOS, Jupyter and archives put there."""
    for path in [path for path in root.rglob("*") if path.is_file()]:
        for copy in (
            path.with_name(f"._{path.name}"),
            path.parent / ".ipynb_checkpoints" / path.name,
            root / "__MACOSX" / path.relative_to(root),
            path.with_name(".DS_Store"),
        ):
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes()[:20])


def boxes(root):
    return YoloBoxes(write_yolo(root, ["0 0.5 0.5 0.2 0.4"])), None


def classes(root):
    write_classes(root)
    return ImageFolder(str(root), resize=None, crop=None), None


@pytest.mark.parametrize("write", [*PIXELS, boxes, classes])
def test_hidden_files_and_folders_are_none(tmp_path, write):
    data, _ = write(tmp_path)
    before = data.load("test")
    hide(tmp_path)
    after = data.load("test")
    assert len(after) == len(before) > 0
    for index in range(len(after)):
        assert all((after[index][key] == value).all() for key, value in before[index].items())


@pytest.mark.parametrize("write", PIXELS)
def test_targets_lie_where_the_picture_shows_them(tmp_path, write):
    """The picture is stored on its side; masks and depth speak of what is shown."""
    data, _ = write(tmp_path)
    sample = data.load("test")[0]
    target = sample.get("mask", sample.get("depth"))
    assert target.shape == sample["image"].shape[1:] == (24, 32)
    bright = sample["image"].mean(0) > 0.5
    assert ((target == target[0, 0]) == bright).float().mean() > 0.95


@pytest.mark.parametrize("write", PIXELS)
def test_targets_of_the_stored_pixels_are_refused(tmp_path, write):
    data, target = write(tmp_path)
    Image.fromarray(np.rot90(np.array(Image.open(target)))).save(target)
    with pytest.raises(InputError, match=r"a(_rgb|_depth)?\.(jpg|png) is|b_1_leftImg8bit\.png is"):
        data.load("test")[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_lie_where_the_picture_shows_them(tmp_path, orientation):
    save_turned(tmp_path / "images/val2017/x.jpg", corner(), orientation)
    (tmp_path / "labels/val2017").mkdir(parents=True)
    (tmp_path / "labels/val2017/x.txt").write_text("0 0.25 0.25 0.5 0.5\n")
    sample = YoloBoxes(str(tmp_path), size=None).load("test")[0]
    x1, y1, x2, y2 = sample["boxes"][0].int().tolist()
    assert (x2, y2) == (16, 12)
    assert sample["image"][:, y1:y2, x1:x2].mean() > 0.95


def test_boxes_of_the_stored_pixels_are_refused(tmp_path):
    root = write_coco(tmp_path)
    save_turned(root / "val2017" / f"{397133:012d}.jpg", np.zeros((64, 48, 3), np.uint8), 6)
    data = CocoBoxes(str(root / "val2017"), str(root / "annotations" / "instances_val2017.json"))
    with pytest.raises(InputError, match=r"397133\.jpg is \(64, 48\) but its annotation"):
        data.load("test")[0]


def test_a_hidden_folder_may_hold_the_data_set(tmp_path):
    (tmp_path / ".cache").mkdir()
    assert len(classes(tmp_path / ".cache" / "data")[0].load("test")) == 6


def test_linked_folders_are_followed(tmp_path):
    write_classes(tmp_path / "stored")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a").symlink_to(tmp_path / "stored" / "n01440764", target_is_directory=True)
    assert [path.name for path in list_images(tmp_path / "linked")] == [
        "n01440764_0.JPEG",
        "n01440764_1.JPEG",
    ]
