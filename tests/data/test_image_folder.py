import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from dds.data.image_folder import ImageFolder
from dds.errors import InputError

WNIDS = ("n01440764", "n01443537", "n02123045")


def write_image(path, value=0, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path)


def write_classes(folder, each=2):
    for index, wnid in enumerate(WNIDS):
        for number in range(each):
            write_image(folder / wnid / f"{wnid}_{number}.JPEG", value=40 * index)


def write_listed(folder, rows):
    for name, _ in rows:
        write_image(folder / "images" / name)
    lines = [f"{name},{index}" for name, index in rows]
    (folder / "labels.csv").write_text("\n".join(["file,class_index", *lines]))


def small(root, **options):
    return ImageFolder(str(root), resize=None, crop=None, **options)


def test_classes_are_numbered_in_alphabetical_order(tmp_path):
    for split in ("train", "val"):
        write_classes(tmp_path / split)
    batch = next(iter(ImageFolder(str(tmp_path), classes=3).test_dataloader()))
    assert batch["image"].shape == (6, 3, 224, 224)
    assert batch["label"].tolist() == [0, 0, 1, 1, 2, 2]
    red = batch["image"][:, 0].mean((1, 2)) * 255
    assert torch.allclose(red, batch["label"] * 40.0, atol=4)  # each image with its own label


def test_a_root_without_splits_serves_all(tmp_path):
    write_classes(tmp_path)
    data = ImageFolder(str(tmp_path), resize=16, crop=12)
    for split in ("train", "val", "test"):
        assert len(data.load(split)) == 6
        assert data.load(split)[0]["image"].shape == (3, 12, 12)


def labels_by_class(dataset):
    return {
        path.parent.name: label.item() for path, label in zip(dataset.paths, dataset.targets, strict=True)
    }


def test_a_class_without_images_keeps_its_number(tmp_path):
    write_classes(tmp_path)
    for path in (tmp_path / WNIDS[1]).iterdir():
        path.unlink()
    (tmp_path / WNIDS[1] / ".gitkeep").touch()
    assert labels_by_class(small(tmp_path, classes=3).load("test")) == {WNIDS[0]: 0, WNIDS[2]: 2}


def test_a_class_that_a_split_lacks_keeps_its_number(tmp_path):
    write_classes(tmp_path / "train")
    write_image(tmp_path / "val" / WNIDS[2] / "a.png")
    data = small(tmp_path, classes=3)
    assert labels_by_class(data.load("test")) == {WNIDS[2]: 2}
    assert labels_by_class(data.load("train")) == {name: number for number, name in enumerate(WNIDS)}


def test_splits_in_a_table_name_no_classes(tmp_path):
    write_listed(tmp_path / "train", [("a.png", 0)])
    write_classes(tmp_path / "val")
    assert labels_by_class(small(tmp_path, classes=3).load("test"))[WNIDS[2]] == 2


def test_listed_files(tmp_path):
    write_listed(tmp_path / "val", [("b.jpg", 999), ("a.png", 3)])
    batch = next(iter(small(tmp_path).test_dataloader()))
    assert batch["label"].tolist() == [999, 3]
    assert batch["image"].shape == (2, 3, 30, 40)


def test_real_listed_files(shared_data):
    data = ImageFolder(str(shared_data / "imagenet250"), classes=1000, limit=5)
    assert len(data.load("test")) == 250
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == (5, 3, 224, 224)
    labels = data.load("test").targets
    assert labels.unique().numel() == 250  # every fourth class
    assert torch.equal(labels, torch.arange(0, 1000, 4))


def test_real_cifar_tree(shared_data, tmp_path):
    with zipfile.ZipFile(shared_data / "cifar10" / "train_jpeg50k.zip") as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.endswith("0000.jpg")])
    dataset = small(tmp_path, test_split="train").load("test")
    assert dataset[3]["image"].shape == (3, 32, 32)
    assert [sample["label"].item() for sample in dataset] == list(range(10))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda root: None, "no images sorted into classes.*Set data.root to a folder of"),
        (lambda root: write_image(root / "a.jpg"), "no images sorted into classes"),
        (lambda root: (root / "n01440764").mkdir(), "no images sorted into classes"),
        (lambda root: write_classes(root / "train"), r"has no folder val, only train\. Set data\.test_split"),
        (lambda root: write_classes(root / "val"), r"has 3 folders; expected data\.classes=10"),
        (lambda root: write_listed(root, [("a.jpg", 10)]), "holds class 10; expected 0 to 9"),
        (lambda root: write_listed(root, []), "found no test images"),
    ],
)
def test_bad_folders(tmp_path, write, words):
    write(tmp_path)
    with pytest.raises(InputError, match=words):
        small(tmp_path, classes=10).test_dataset()


def test_absent_root_and_a_file_for_root(tmp_path):
    (tmp_path / "val.tar").touch()
    for name in ("none", "val.tar"):
        with pytest.raises(InputError, match="no images sorted into classes"):
            small(tmp_path / name).test_dataset()


def test_listed_file_that_is_missing(tmp_path):
    write_listed(tmp_path, [("a.jpg", 1), ("b.jpg", 2)])
    (tmp_path / "images" / "b.jpg").unlink()
    with pytest.raises(InputError, match=r"1 of 2 files do not exist, e\.g\. .*images/b\.jpg"):
        small(tmp_path).test_dataset()


def test_truncated_image(tmp_path):
    path = tmp_path / "cat" / "a.png"
    path.parent.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"a\.png cannot be read"):
        small(tmp_path).test_dataset()[0]
