"""Data sets of `datasets`: columns of every kind, from folders, without a network."""

import shutil
import sys

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Array2D, Array3D, ClassLabel, Features, List, Sequence, Value
from PIL import Image

from dds.cli import evaluate
from dds.coco_ids import COCO_NAMES
from dds.data import GivenTable, HubDataset
from dds.errors import InputError

pytestmark = pytest.mark.usefixtures("without_figures")

SIDES = [(12, 16), (10, 16), (12, 16)]
PIXELS = [
    np.random.default_rng(row).integers(0, 256, (*sides, 3), np.uint8) for row, sides in enumerate(SIDES)
]
PICTURES = [Image.fromarray(pixels) for pixels in PIXELS]
VALUES = [np.full(sides, row, np.uint8) for row, sides in enumerate(SIDES)]
OBJECTS = [{"bbox": [[1, 2, 3, 2], [0, 0, 8, 6]], "category": [0, 2]}, {"bbox": [], "category": []}]
OBJECTS += [{"bbox": [[0, 1, 2, 3]], "category": [1]}]
BOX = List(List(Value("float32"), length=4))
IMAGE = datasets.Image()


def table(feature, values, image=IMAGE, images=PICTURES, **columns):
    features = Features({"picture": image, "known": feature})
    return datasets.Dataset.from_dict({"picture": images, "known": values}, features)


def read(feature, values, kind, **options):
    data = GivenTable(table(feature, values), kind, image="picture", target="known", **options)
    samples = data.load("test")
    return [samples[row] for row in range(len(samples))]


def test_images_however_they_are_kept(tmp_path):
    PICTURES[0].save(tmp_path / "a.png")
    arrays = Array3D((None, 16, 3), "uint8")
    channels_first = List(List(List(Value("int64"))))
    columns = {
        "bytes": (IMAGE, PICTURES[:1]),
        "a file": (IMAGE, [str(tmp_path / "a.png")]),
        "an array": (arrays, PIXELS[:1]),
        "lists": (channels_first, [PIXELS[0].transpose(2, 0, 1).tolist()]),
    }
    for image, images in columns.values():
        made = table(Value("int64"), [0], image, images).with_format("torch")
        samples = GivenTable(made, image="picture", target="known").load("test")
        assert samples.size_of(0) == SIDES[0]
        assert np.array_equal((samples[0]["image"] * 255).round().permute(1, 2, 0), PIXELS[0])


ANIMALS = ClassLabel(names=["cat", "dog", "cow"])
LABELS = {
    "classes": ("label", ANIMALS, [2, 0, 1], {}, [2, 0, 1]),
    "numbers": ("label", Value("int32"), [7, 0, 7], {}, [7, 0, 7]),
    "numbers by a map": ("label", Value("int32"), [7, 0, 7], {7: 1, 0: 0, 9: 2}, [1, 0, 1]),
    "classes by their names": ("label", ANIMALS, [2, 0, 2], {"cow": 0, "cat": 5}, [0, 5, 0]),
    "words": ("label", Value("string"), ["cow", "dog", "dog"], {"dog": 1, "cow": 2}, [2, 1, 1]),
    "truth": ("label", Value("bool"), [True, False, True], {}, [1, 0, 1]),
    "lists": ("labels", List(ANIMALS), [[0, 2], [], [1]], {}, [[1, 0, 1], [0, 0, 0], [0, 1, 0]]),
    "lists of words": (
        "labels", List(Value("string")), [["b"], [], []], {"a": 0, "b": 1}, [[0, 1], [0, 0], [0, 0]]
    ),
    "marks": (
        "labels", List(Value("int8"), length=2), [[0, 1], [-1, 0], [1, 1]], {}, [[0, 1], [-1, 0], [1, 1]]
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", LABELS)
def test_labels(form):
    kind, feature, values, classes, expected = LABELS[form]
    found = [one[kind].tolist() for one in read(feature, values, kind, classes=classes or None)]
    assert found == expected


def test_images_in_tables_are_called_by_their_place():
    data = GivenTable(table(ANIMALS, [0, 1, 2]), image="picture", target="known")
    assert data.image_names() == ["000000", "000001", "000002"]


def test_labels_are_resized_and_cropped_as_image_folders():
    small = {"resize": 4, "crop": 3}
    assert [one["image"].shape for one in read(ANIMALS, [0, 0, 0], "label", **small)] == [(3, 3, 3)] * 3
    assert read(ANIMALS, [0, 0, 0], "label", size=(5, 7))[0]["image"].shape == (3, 5, 7)


PALETTE = [0, 0, 0, 255, 0, 0, 0, 0, 255]
COLOURED = [Image.fromarray(np.array(PALETTE, np.uint8).reshape(3, 3)[value]) for value in VALUES]
MASKS = {
    "images": (IMAGE, [*map(Image.fromarray, VALUES)], {"classes": {0: 255, 1: 0, 2: None}}, [255, 0, 255]),
    "16 bits": (
        IMAGE,
        [Image.fromarray(value.astype(np.uint16) * 500) for value in VALUES],
        {"classes": {0: 1, 500: 2, 1000: 3}},
        [1, 2, 3],
    ),
    "palettes": (IMAGE, [Image.fromarray(value).convert("P") for value in VALUES], {}, [0, 1, 2]),
    "colours": (
        IMAGE,
        COLOURED,
        {"colours": {"#000000": 4, "#ff0000": 1, "#0000ff": None}, "ignored": 9},
        [4, 1, 9],
    ),
    "arrays": (Array2D((None, 16), "int32"), VALUES, {}, [0, 1, 2]),
    "one for all others": (Array2D((None, 16), "int32"), VALUES, {"classes": {1: 5}, "others": 0}, [0, 5, 0]),
    "large arrays": (Array2D((None, 16), "int32"), [value.astype(int) + 299 for value in VALUES],
                     {"classes": {299: 0, 300: 1, 301: 2}}, [0, 1, 2]),
}  # fmt: skip


@pytest.mark.parametrize("form", MASKS)
def test_masks(form):
    feature, values, options, expected = MASKS[form]
    for sides, label, one in zip(SIDES, expected, read(feature, values, "mask", **options), strict=True):
        assert torch.equal(one["mask"], torch.full(sides, label))


DEPTH = np.array([[0, 1500, 4000, 250]] * 12, np.uint16).repeat(4, axis=1)
METRES = (DEPTH / 1000).astype(np.float32)
DEPTHS = {
    "16 bits": (IMAGE, Image.fromarray(DEPTH), {"depth_scale": 1000}),
    "floats": (IMAGE, Image.fromarray(METRES), {}),
    "arrays": (Array2D((None, 16), "float32"), METRES, {}),
    "arrays of millimetres": (Array2D((None, 16), "uint16"), DEPTH, {"depth_scale": 1000}),
    "NaN": (Array2D((None, 16), "float32"), np.where(DEPTH, METRES, np.nan), {"invalid": [float("nan")]}),
}


@pytest.mark.parametrize("form", DEPTHS)
def test_depth(form):
    feature, depth, options = DEPTHS[form]
    made = table(feature, [depth], images=PICTURES[:1])
    sample = GivenTable(made, "depth", image="picture", target="known", **options).load("test")[0]
    assert sample["depth"].tolist() == METRES.tolist()


FORMS = {
    "a table": (Sequence({"bbox": List(Value("float32"), length=4), "category": ANIMALS}), {}),
    "columns": ({"bbox": BOX, "category": List(ANIMALS)}, {}),
    "a list": (List({"bbox": List(Value("float32"), length=4), "category": ANIMALS}), {}),
    "numbers": ({"bbox": BOX, "category": List(Value("int64"))}, {"classes": {0: 1, 1: 2, 2: 3}}),
    "corners": ({"bbox": BOX, "category": List(ANIMALS)}, {"box_format": "xyxy"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_objects(form):
    feature, options = FORMS[form]
    objects = OBJECTS
    if form == "a list":
        objects = [list_of(one) for one in OBJECTS]
    if form == "corners":
        objects = [{**one, "bbox": [[x, y, x + w, y + h] for x, y, w, h in one["bbox"]]} for one in OBJECTS]
    found = read(feature, objects, "boxes", **options)
    assert found[0]["boxes"].tolist() == [[1, 2, 4, 4], [0, 0, 8, 6]]
    assert [one["classes"].tolist() for one in found] == [[1, 3], [-1, -1], [2, -1]]


def write_objects(folder):
    """A data set of the layout of CPPE-5, which has five classes."""
    feature = List({"bbox": List(Value("float32"), length=4), "category": ClassLabel(num_classes=5)})
    made = table(feature, [list_of(one) for one in OBJECTS])
    made.rename_columns({"picture": "image", "known": "objects"}).save_to_disk(str(folder))
    return folder


def list_of(objects):
    return [dict(zip(objects, values, strict=True)) for values in zip(*objects.values(), strict=True)]


def test_coco_s_classes_have_coco_s_ids_and_crowds_are_marked():
    leaf = ClassLabel(names=list(COCO_NAMES))
    feature = {"bbox": BOX, "category": List(leaf), "iscrowd": List(Value("int8"))}
    objects = [
        {**one, "iscrowd": [1] * len(one["bbox"]), "category": [79] * len(one["bbox"])} for one in OBJECTS
    ]
    (first, _, _) = read(feature, objects, "boxes")
    assert (first["classes"].tolist(), first["crowd"].tolist()) == ([90, 90], [True, True])


# Where data sets come from


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path_factory):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def masks():
    """A table of the usual names."""
    made = table(IMAGE, [Image.fromarray(np.minimum(value, 1) * 4) for value in VALUES])
    return made.rename_columns({"picture": "image", "known": "mask"})


def saved(folder):
    datasets.DatasetDict({"test": masks(), "train": masks()}).save_to_disk(str(folder))
    return str(folder)


def alone(folder):
    masks().save_to_disk(str(folder))
    return str(folder)


def parquet(folder):
    folder.mkdir()
    masks().to_parquet(str(folder / "test-00000-of-00001.parquet"))
    return str(folder)


@pytest.mark.parametrize("write", [saved, alone, parquet])
def test_folders(tmp_path, write):
    data = HubDataset(write(tmp_path / "data"), "mask")
    batches = list(data.test_dataloader())
    assert [(batch["index"].tolist(), batch["mask"].amax().item()) for batch in batches] == [
        ([0, 2], 4),
        ([1], 4),
    ]
    assert np.array_equal((batches[0]["image"][1] * 255).round().permute(1, 2, 0), PIXELS[2])
    shutil.move(tmp_path / "data", tmp_path / "moved")
    moved = HubDataset(str(tmp_path / "moved"), "mask")
    assert moved.identity() == data.identity() == GivenTable(masks(), "mask").identity()
    fewer = GivenTable(masks().select([0, 2, 1]), "mask")
    assert fewer.identity() != data.identity()


def test_folders_of_images(tmp_path):
    for row, name in enumerate(["cat/b.png", "dog/a.png"]):
        (tmp_path / "set" / "train" / name).parent.mkdir(parents=True)
        PICTURES[row].save(tmp_path / "set" / "train" / name)
    data = HubDataset(str(tmp_path / "set"), test_split="train")
    assert [one["label"].item() for one in data.test_dataset()] == [0, 1]
    Image.new("I;16", (8, 8)).save(tmp_path / "set" / "train" / "dog" / "a.png")
    with pytest.raises(InputError, match=r"image 1 \(a\.png\) has 16 bits or more"):
        data.test_dataset()[1]


def test_a_table_may_not_name_files_elsewhere(tmp_path):
    PICTURES[0].save(tmp_path / "other.png")
    schema = Features({"image": IMAGE, "label": Value("int64")}).arrow_schema
    rows = {"image": [{"bytes": None, "path": str(tmp_path / "other.png")}], "label": [0]}
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table(rows, schema), tmp_path / "set" / "test.parquet")
    with pytest.raises(InputError, match=r"image 0 names .*other\.png, which lies outside"):
        HubDataset(str(tmp_path / "set")).test_dataset()[0]


BAD = {
    "column": ({"target": "nope"}, r"no column nope, but image \(Image\), mask \(Image\)\. Set data\.target"),
    "usual column": ({"kind": "label"}, r"no column label or labels, but image"),
    "split": ({"test_split": "val"}, r"has no split val, only test, train\. Set data\.test_split"),
    "kind of column": ({"kind": "label", "target": "mask"}, "column mask does not hold a class for each"),
    "boxes": ({"kind": "boxes", "target": "mask"}, "column mask does not hold objects"),
    "kind": ({"kind": "masks"}, r"data\.kind=masks; expected label, labels, mask"),
    "boxes' form": ({"box_format": "cxcywh"}, r"data\.box_format=cxcywh; expected xywh, xyxy"),
    "depth": ({"kind": "depth", "target": "mask"}, r"mask 0 .*whole numbers.*Set data\.depth_scale"),
    "values": ({"classes": {4: 0}}, r"mask 0 .*holds the values \[0\], which stand for no class"),
    "words of masks": ({"classes": {"road": 0}}, "names 'road'; expected numbers"),
    "crop": ({"resize": 4}, r"data\.resize and data\.crop are for images with labels.*data\.kind=mask"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_settings_that_do_not_fit(tmp_path, what):
    options, words = BAD[what]
    with pytest.raises(InputError, match=words):
        next(iter(HubDataset(saved(tmp_path / "data"), **{"kind": "mask", **options}).test_dataloader()))


@pytest.mark.parametrize(
    ("feature", "values", "kind", "words"),
    [
        (ANIMALS, [0, -1, 0], "label", "column known holds -1, .*labels of -1 are withheld"),
        (Value("string"), ["a", "b", "c"], "label", "holds a, b, c, .*expected numbers from 0 on"),
        (Value("float32"), [0.5, 1, 2], "label", r"holds 0\.5, 1\.0, 2\.0"),
        (List(ANIMALS), [[0], [-1], None], "labels", "holds -1, which stands for no class"),
        ({"bbox": BOX, "category": List(Value("int64"))}, OBJECTS, "boxes", r"class 0, .*Set data\.classes"),
        (
            {"bbox": BOX, "category": List(ANIMALS)},
            [{**one, "category": [0]} for one in OBJECTS],
            "boxes",
            "objects of picture 0 are 2 boxes and 1 categories",
        ),
        (
            {"bbox": BOX, "category": List(ANIMALS)},
            [{"bbox": [[1, 2, 30, 2]], "category": [0]}] * 3,
            "boxes",
            "picture 0 has the box",
        ),
        (IMAGE, [None, *PICTURES[1:]], "mask", "known 0 is empty"),
        (List(List(Value("int64"))), [[[1, 2], [3]]] * 3, "mask", "known 0 cannot be read as an image"),
    ],
)
def test_columns_that_cannot_be_meant(feature, values, kind, words):
    with pytest.raises(InputError, match=words):
        read(feature, values, kind)


def test_data_sets_that_cannot_be_had(tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match=r"is neither a folder nor in the hub's cache, .*--repo-type dataset"
    ):
        HubDataset("nobody/nothing").test_dataset()
    with pytest.raises(InputError, match=r"nowhere does not exist\. Set data\.name"):
        HubDataset(str(tmp_path / "nowhere")).test_dataset()
    with pytest.raises(InputError, match=r"^\./photos is no folder, and cannot be a name on the hub\."):
        HubDataset("./photos").test_dataset()
    with pytest.raises(InputError, match=r"Unknown split .val.* Check data\.test_split"):
        HubDataset(parquet(tmp_path / "set"), test_split="val").test_dataset()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        InputError, match=r"data sets of the hub are read by datasets.*pip install 'dds\[hub\]'"
    ):
        HubDataset("nobody/nothing").test_dataset()


def test_a_run_on_masks_of_two_sizes_with_a_label_map(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(f"""
task:
  class_path: SemanticSegmentation
  init_args:
    model: {{class_path: conftest.TinySegmenter, init_args: {{classes: 2}}}}
data:
  class_path: HubDataset
  init_args: {{name: {saved(tmp_path / "data")}, kind: mask, classes: {{0: 255, 4: 1}}, batch_size: 2}}
protocol: {{noise_levels: [], defences: {{bits: {{class_path: BitDepth}}}}}}
trainer: {{accelerator: cpu}}
""")
    for sizes in ("group", "pad"):
        evaluate(["--config=run.yaml", f"--data.sizes={sizes}", f"--name={sizes}", "--logger=false"])
    group, pad = (pd.read_parquet(f"runs/run/{sizes}/samples.parquet") for sizes in ("group", "pad"))
    pixels = [[0, 0], [0, 10 * 16], [0, 12 * 16]]
    assert np.stack(group.labelled).tolist() == np.stack(pad.labelled).tolist() == 2 * pixels
    assert group.iou[2] == pad.iou[2] > 0  # which has no border
