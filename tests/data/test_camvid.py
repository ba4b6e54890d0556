import numpy as np
import pytest
import torch
from PIL import Image

from dds.data import CamVid
from dds.errors import InputError


def write_camvid(root, images=5, mask_size=(360, 480)):
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for i in range(images):
            name = f"0001TP_{i:06d}.png"
            Image.fromarray(random.integers(0, 256, (360, 480, 3), dtype=np.uint8)).save(root / split / name)
            mask = np.kron(random.integers(0, 12, (6, 8)), np.ones((mask_size[0] // 6, mask_size[1] // 8)))
            Image.fromarray(mask.astype(np.uint8)).save(root / f"{split}annot" / name)
    return root


def test_pairs_are_read_resized_and_void_is_ignored(tmp_path):
    root = write_camvid(tmp_path)
    batch = next(iter(CamVid(str(root), size=(96, 128), batch_size=3).test_dataloader()))
    assert batch["image"].shape == (3, 3, 96, 128)
    assert 0 <= batch["image"].min() <= batch["image"].max() <= 1
    first = np.array(Image.open(root / "valannot" / "0001TP_000000.png"))[::60, ::60]
    small = batch["mask"][0, 8::16, 8::16]
    assert torch.equal(small, torch.from_numpy(np.where(first == 11, 255, first)).long())


def test_training_images_are_augmented_alike(tmp_path):
    dataset = CamVid(str(write_camvid(tmp_path))).load("train")
    torch.manual_seed(0)
    one, two = dataset[0], dataset[0]
    assert one["image"].shape == (3, 96, 128)
    assert not torch.equal(one["image"], two["image"])
    assert set(one["mask"].unique().tolist()) <= {*range(11), 255}


def test_real_camvid(shared_data):
    data = CamVid(str(shared_data / "camvid"))
    assert (len(data.load("train")), len(data.load("val"))) == (184, 51)
    sample = data.load("val")[0]
    assert sample["mask"].shape == (96, 128)
    assert {1, 3} <= set(sample["mask"].unique().tolist()) <= {*range(11), 255}  # buildings and road


def test_missing_folder_says_what_to_download(tmp_path):
    with pytest.raises(InputError, match="Download CamVid"):
        CamVid(str(tmp_path)).test_dataset()


def test_missing_mask_is_named(tmp_path):
    root = write_camvid(tmp_path)
    (root / "valannot" / "0001TP_000001.png").unlink()
    with pytest.raises(InputError, match=r"1 images lack a mask.*0001TP_000001\.png"):
        CamVid(str(root)).test_dataset()


def test_mask_of_another_size(tmp_path):
    root = write_camvid(tmp_path, mask_size=(180, 240))
    with pytest.raises(InputError, match="but its mask"):
        CamVid(str(root)).test_dataset()[0]


def test_truncated_image_is_named(tmp_path):
    root = write_camvid(tmp_path)
    path = root / "val" / "0001TP_000000.png"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"0001TP_000000\.png"):
        CamVid(str(root)).test_dataset()[0]
