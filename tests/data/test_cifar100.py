import hashlib
import pickle

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR100

from dds.data.cifar100 import Cifar100
from dds.errors import InputError


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Files of exactly the official layout, with checksums of our own."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    content = {
        "train": {"data": pixels, "fine_labels": [0, 50, 99], "coarse_labels": [4, 1, 19]},
        "test": {"data": pixels[:2], "fine_labels": [99, 7], "coarse_labels": [19, 0]},
        "meta": {"fine_label_names": [str(i) for i in range(100)], "coarse_label_names": []},
    }
    sums = {}
    for name, value in content.items():
        (folder / name).write_bytes(pickle.dumps(value))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": sums["meta"]})
    return tmp_path, pixels


def test_official_files_with_fine_labels(official):
    root, pixels = official
    data = Cifar100(str(root))
    batch = next(iter(data.test_dataloader()))
    assert batch["label"].tolist() == [99, 7]
    assert torch.equal((batch["image"] * 255).round().byte().flatten(1), torch.from_numpy(pixels[:2]))
    assert [sample["label"].item() for sample in data.load("train")] == [0, 50, 99]


def test_damaged_file(official):
    root, _ = official
    (root / "cifar-100-python" / "test").write_bytes(b"half")
    with pytest.raises(InputError, match="no Cifar100 under"):
        Cifar100(str(root)).test_dataset()


def test_cifar10_is_not_taken_for_it(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(InputError, match=r"Download cifar-100-python\.tar\.gz.*holds cifar-100-python;"):
        Cifar100(str(tmp_path)).test_dataset()
