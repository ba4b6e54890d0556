import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_coco import write_coco
from test_depth_pairs import write_folder
from test_image_folder import write_classes
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from dds.data import (
    CocoDetection,
    DepthPairs,
    GivenData,
    ImageFolder,
    LabelledRetrieval,
    SceneRetrieval,
    Scenes,
)
from dds.data.identity import digest_of


def folder(root):
    write_classes(root)
    return lambda where: ImageFolder(str(where), resize=None, crop=None)


def depth(root):
    write_folder(root, ["a", "b", "c"])
    return lambda where: DepthPairs(str(where))


def boxes(root):
    write_coco(root)
    return lambda where: CocoDetection(str(where))


def retrieval(root):
    write_classes(root)
    rows = [f"n01440764/n01440764_{number}.JPEG,a,{role}" for number, role in enumerate(("query", "gallery"))]
    (root / "labels.csv").write_text("\n".join(["file,class,role", *rows]))
    return lambda where: LabelledRetrieval(str(where))


def rename(root):
    path = max(root.rglob("*_1.*"))
    path.rename(path.with_name("0" + path.name))


def grow(root):
    with min(path for path in root.rglob("*") if path.suffix in (".JPEG", ".png", ".jpg")).open("ab") as file:
        file.write(b"0")


def add(root):
    path = max(root.rglob("*_0.JPEG"))
    shutil.copy(path, path.with_name("a.JPEG"))


@pytest.mark.parametrize("write", [folder, depth, boxes, retrieval])
def test_it_tells_files_wherever_they_lie(tmp_path, write, monkeypatch):
    root = tmp_path / "here"
    root.mkdir()
    make = write(root)
    before = make(root).identity()
    shutil.copytree(root, tmp_path / "elsewhere" / "deeper")
    assert make(tmp_path / "elsewhere" / "deeper").identity() == before
    monkeypatch.chdir(tmp_path)
    assert make("here").identity() == before
    grow(root)
    assert make(root).identity() != before


@pytest.mark.parametrize("change", [rename, grow, add])
def test_it_tells_other_files(tmp_path, change):
    make = folder(tmp_path)
    before = make(tmp_path).identity()
    change(tmp_path)
    assert make(tmp_path).identity() != before


def test_it_tells_other_labels_and_another_gallery(tmp_path):
    make = retrieval(tmp_path)
    before = make(tmp_path).identity()
    table = tmp_path / "labels.csv"
    (tmp_path / "b.JPEG").write_bytes(b"")
    table.write_text(table.read_text() + "\nb.JPEG,b,gallery")
    assert make(tmp_path).identity() != before


def test_batches_workers_and_a_limit_count_nothing(tmp_path):
    folder(tmp_path)
    made = [
        ImageFolder(str(tmp_path), **options)
        for options in ({}, {"batch_size": 1}, {"num_workers": 1}, {"limit": 2})
    ]
    assert len({data.identity() for data in made}) == 1


def test_scenes_are_told_by_their_numbers():
    assert Scenes().identity() == Scenes(batch_size=2).identity() != Scenes(test_images=999).identity()
    assert SceneRetrieval(test_images=8)._rendered == {}
    assert SceneRetrieval(test_images=8).identity() != Scenes(test_images=8).identity()


class Own(Dataset):
    """Keeps what data sets of users keep."""

    def __init__(self, **kept):
        self.__dict__ = kept
        self.cache, self.reads = {}, 0

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.cache[index], self.reads = torch.rand(3), self.reads + 1
        return self.cache[index], 0


PAIRS = [(torch.full((3, 8, 8), number / 4), number) for number in range(4)]
IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
NAMES = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PAIRS, [*PAIRS[:3], (PAIRS[3][0], 0)]),
        (PAIRS, [PAIRS[1], PAIRS[0], *PAIRS[2:]]),
        (Subset(PAIRS, range(3)), Subset(PAIRS, range(1, 4))),
        (Subset(PAIRS, [0]), Subset(PAIRS[::-1], [0])),
        (TensorDataset(IMAGES, torch.arange(4)), TensorDataset(IMAGES.flip(0), torch.arange(4))),
        (ConcatDataset([Own(names=NAMES)]), ConcatDataset([Own(names=NAMES[::-1])])),
        (Own(names=NAMES), Own(names=[*NAMES[:3], "e.jpg"])),
        (Own(table=pd.DataFrame({"file": NAMES})), Own(table=pd.DataFrame({"file": NAMES[::-1]}))),
        (Own(names=np.array(NAMES)), Own(names=np.array(NAMES[::-1]))),
        (Own(parts={"labels": [1, 2, 3, 4]}), Own(parts={"labels": [1, 2, 4, 3]})),
        (Own(file=__file__), Own(file=str(Path(__file__).with_name("test_files.py")))),
    ],
)
def test_it_tells_data_sets_of_users(one, other):
    assert GivenData(one, "label").identity() == GivenData(one, "label", batch_size=1).identity()
    assert GivenData(one, "label").identity() != GivenData(other, "label").identity()


def test_what_reading_leaves_counts_nothing():
    data = Own(names=NAMES)
    before = digest_of(data)
    _ = data[0], data[1], data[2], data[3]
    assert digest_of(data) == before


def test_data_sets_may_know_each_other():
    one, other = Own(names=NAMES), Own(names=NAMES)
    one.part, other.whole = other, one
    assert digest_of(one) == digest_of(one)
