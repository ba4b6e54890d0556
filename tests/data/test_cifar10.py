import pickle

import numpy as np
import pytest
import torch

from dds.data import Cifar10
from dds.errors import InputError


def write_npz(path, images=None, labels=None):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8) if images is None else images
    np.savez(path, images=images, labels=np.arange(5) if labels is None else labels)
    return images


def test_npz(tmp_path):
    images = write_npz(tmp_path / "test.npz")
    batch = next(iter(Cifar10(str(tmp_path / "test.npz"), batch_size=5).test_dataloader()))
    assert torch.equal((batch["image"] * 255).round().byte(), torch.from_numpy(images).permute(0, 3, 1, 2))
    assert batch["label"].tolist() == [0, 1, 2, 3, 4]


def test_official_batches(tmp_path, monkeypatch):
    """Files of exactly the official layout, with checksums of our own."""
    import hashlib

    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name in names:
        content = {"data": random.integers(0, 256, (2, 3072), dtype=np.uint8), "labels": [3, 7]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))

    def listed(name):
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    monkeypatch.setattr(CIFAR10, "train_list", [listed(name) for name in names[:-1]])
    monkeypatch.setattr(CIFAR10, "test_list", [listed("test_batch")])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": listed("batches.meta")[1]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    data = Cifar10(str(tmp_path), batch_size=2)
    batch = next(iter(data.test_dataloader()))
    stored = pickle.loads((folder / "test_batch").read_bytes())["data"]
    assert torch.equal((batch["image"] * 255).round().byte().flatten(1), torch.from_numpy(stored))
    assert batch["label"].tolist() == [3, 7]
    assert len(data.load("train")) == 10


def test_real_test_images(shared_data):
    dataset = Cifar10(str(shared_data / "cifar10/test_lossless200.npz")).test_dataset()
    assert len(dataset) == 200
    assert {dataset[i]["label"].item() for i in range(200)} == set(range(10))


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (np.zeros((5, 3, 32, 32), np.uint8), None, r"expected uint8 \[N, 32, 32, 3\]"),
        (np.zeros((5, 32, 32, 3), np.float32), None, "expected uint8"),
        (np.zeros((4, 32, 32, 3), np.uint8), None, "4 images but 5 labels"),
        (np.zeros((0, 32, 32, 3), np.uint8), np.zeros(0), "found no test images"),
    ],
)
def test_bad_npz(tmp_path, images, labels, words):
    write_npz(tmp_path / "bad.npz", images, labels)
    with pytest.raises(InputError, match=words):
        Cifar10(str(tmp_path / "bad.npz")).test_dataset()


def test_missing_data_says_what_to_download(tmp_path):
    for root in (tmp_path, tmp_path / "none.npz"):
        with pytest.raises(InputError, match=r"Download cifar-10-python\.tar\.gz"):
            Cifar10(str(root)).test_dataset()
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="expected images and labels"):
        Cifar10(str(tmp_path / "other.npz")).test_dataset()
