import numpy as np
import pytest
import torch
from PIL import Image

from dds.data.ade20k import Ade20k
from dds.errors import InputError


def write_ade20k(root, value=150):
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        for folder in ("images", "annotations"):
            (root / folder / split).mkdir(parents=True)
        image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "images" / split / f"{name}.jpg")
        mask = np.zeros((24, 32), np.uint8)
        mask[8:16], mask[16:] = 1, value
        Image.fromarray(mask).save(root / "annotations" / split / f"{name}.png")
    return str(root)


def test_classes_count_from_zero_and_other_objects_are_ignored(tmp_path):
    batch = next(iter(Ade20k(write_ade20k(tmp_path)).test_dataloader()))
    assert batch["image"].shape == (1, 3, 24, 32)
    assert batch["mask"][0, :, 0].tolist() == [255] * 8 + [0] * 8 + [149] * 8


def test_real_pairs(shared_data):
    root = shared_data / "segmentation_samples" / "ade20k"
    names = [line.split("\t")[-1] for line in (root / "objectInfo150.txt").read_text().splitlines()[1:]]
    dataset = Ade20k(str(root)).load("test")
    assert len(dataset) == 3
    first = dataset[0]
    assert first["image"].shape == (3, 512, 683)
    shown = {names[index].split(",")[0] for index in first["mask"].unique().tolist() if index != 255}
    assert shown == {"wall", "building", "sky", "tree", "road", "grass", "plant"}


def test_training_images_are_resized(tmp_path):
    sample = Ade20k(write_ade20k(tmp_path), size=(16, 16)).load("train")[0]
    assert sample["image"].shape[1:] == sample["mask"].shape == (16, 16)
    assert set(sample["mask"].unique().tolist()) <= {0, 149, 255}


def test_the_full_ade20k_or_nothing_at_root(tmp_path):
    with pytest.raises(
        InputError, match=r"no \*\.jpg in .*images/validation\. Download ADEChallengeData2016"
    ):
        Ade20k(str(tmp_path)).test_dataset()


def test_missing_mask_and_class_outside_the_table(tmp_path):
    data = Ade20k(write_ade20k(tmp_path, value=151))
    with pytest.raises(InputError, match=r"holds the values \[151\]"):
        data.test_dataset()[0]
    (tmp_path / "annotations" / "validation" / "ADE_val_00000001.png").unlink()
    with pytest.raises(InputError, match="lack a mask"):
        Ade20k(tmp_path).test_dataset()


def test_truncated_image(tmp_path):
    data = Ade20k(write_ade20k(tmp_path))
    path = tmp_path / "images" / "validation" / "ADE_val_00000001.jpg"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"ADE_val_00000001\.jpg cannot be read"):
        data.test_dataset()[0]
    assert isinstance(data.load("train")[0]["mask"], torch.Tensor)
