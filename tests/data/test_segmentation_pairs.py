import numpy as np
import pytest
from PIL import Image

from dds.data import SegmentationPairs
from dds.errors import InputError

VALUES = np.array([[0, 0, 128, 255], [0, 7, 128, 255]])


def write_pairs(root, masks, names=("a", "b"), end="_mask"):
    for number, name in enumerate(names):
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 4, 3), number, np.uint8)).save(root / "images" / f"{name}.jpg")
        Image.fromarray(masks).save(root / "masks" / f"{name}{end}.png")
    return {"root": str(root), "masks": f"masks/*{end}.png"}


def mask_of(*given, **options):
    return SegmentationPairs(*given, **options).load("test")[0]["mask"].tolist()


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_values_have_the_classes_that_are_said(tmp_path, kind):
    far = 1000 if kind == "uint16" else 128
    masks = np.where(VALUES == 128, far, VALUES).astype(kind)
    classes = {0: 0, 7: 1, far: 2, 255: None}
    assert mask_of(**write_pairs(tmp_path, masks), classes=classes) == [[0, 0, 2, 255], [0, 1, 2, 255]]


def test_values_that_are_not_named_are_all_others(tmp_path):
    given = write_pairs(tmp_path, VALUES.astype(np.uint8))
    assert mask_of(**given, classes={128: 3, 255: None}, others=0) == [[0, 0, 3, 255], [0, 0, 3, 255]]
    assert mask_of(**given, classes={7: 1}, others=255) == [[255, 255, 255, 255], [255, 1, 255, 255]]


def test_by_default_values_are_classes(tmp_path):
    assert mask_of(**write_pairs(tmp_path, VALUES.astype(np.uint8))) == VALUES.tolist()


def test_more_classes_than_255(tmp_path):
    given = write_pairs(tmp_path, VALUES.astype(np.uint16))
    classes = {value: value for value in range(300)} | {7: None}
    assert mask_of(**given, classes=classes, ignored=-1) == np.where(VALUES == 7, -1, VALUES).tolist()


def test_colours_have_the_classes_that_are_said(tmp_path):
    colours = np.zeros((2, 4, 3), np.uint8)
    colours[0], colours[1, 0] = (128, 0, 1), (255, 255, 255)
    given = write_pairs(tmp_path, colours)
    named = {"#000000": 0, "800001": 1, "#ffFFff": None}
    assert mask_of(**given, colours=named) == [[1, 1, 1, 1], [255, 0, 0, 0]]
    with pytest.raises(InputError, match=r"a_mask\.png holds the values \[#800001\]"):
        mask_of(**given, colours={"#000000": 0, "#ffffff": 1})


def test_the_last_share_is_held_out(tmp_path):
    data = SegmentationPairs(**write_pairs(tmp_path, VALUES.astype(np.uint8), "abcd"), held_out=0.5)
    assert [len(data.load(split)) for split in ("train", "val", "test")] == [2, 2, 2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"classes": {0: 0, 128: 1, 255: None}},
            r"holds the values \[7\].*data\.classes",
        ),
        ({"classes": {0: 0}, "colours": {"#000000": 0}}, "both given"),
        ({"classes": {0: -1}}, "stands for class -1"),
        ({"classes": {0: 1}, "others": -1}, "stands for class -1"),
        ({"colours": {"red": 0}}, "names 'red'; expected a colour"),
        ({"colours": {"#000000": 0}}, "has 1 channels of .*; expected three"),
        ({"masks": "masks/*.tif"}, r"no file 'masks/\*\.tif'"),
        ({"masks": "masks/a_mask.png"}, r"data\.masks='masks/a_mask\.png' cannot be paired"),
        ({"held_out": 0}, r"data\.held_out=0"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, options, words):
    given = write_pairs(tmp_path, VALUES.astype(np.uint8))
    with pytest.raises(InputError, match=words):
        mask_of(**{**given, **options})
