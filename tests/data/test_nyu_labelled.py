import sys

import numpy as np
import pytest
import torch
from scipy.io import savemat

from dds.data.nyu_labelled import NyuLabelled
from dds.errors import InputError

h5py = pytest.importorskip("h5py")

WIDTH, HEIGHT = 8, 6


def write_mat(folder, images=5, depth_shape=(WIDTH, HEIGHT), test=((1,), (4,))):
    """Write what MATLAB writes for images (H, W, 3, N) and depths (H, W, N): HDF5 with the axes reversed."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (images, 3, WIDTH, HEIGHT), dtype=np.uint8)
    depths = random.uniform(1, 9, (images, *depth_shape)).astype(np.float32)
    path = folder / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w", userblock_size=512) as file:  # MATLAB's own header fills the first 512 bytes
        file["images"], file["depths"], file["rawDepths"] = pictures, depths, np.where(depths < 2, 0, depths)
    savemat(folder / "splits.mat", {"trainNdxs": [[2], [3], [5]], "testNdxs": list(test)})
    return path, pictures, depths


def opened(path, part="testNdxs", field="depths"):
    return NyuLabelled(path, part, field, None, augment=False)


def test_axes_are_put_in_order(tmp_path):
    path, pictures, depths = write_mat(tmp_path)
    dataset = opened(path)
    assert len(dataset) == 2
    sample = dataset[1]  # the fourth image, counted from 1
    assert sample["image"].shape == (3, HEIGHT, WIDTH)
    for x, y in ((0, 0), (7, 0), (0, 5), (5, 2)):
        assert sample["depth"][y, x].item() == depths[3, x, y]
        assert (sample["image"][:, y, x] * 255).round().tolist() == pictures[3, :, x, y].tolist()


def test_training_images_and_raw_depth(tmp_path):
    path, _, depths = write_mat(tmp_path)
    dataset = opened(path, "trainNdxs", "rawDepths")
    assert len(dataset) == 3
    expected = torch.from_numpy(depths[1].T.copy())
    assert torch.equal(dataset[0]["depth"], torch.where(expected < 2, 0, expected))


def test_without_h5py(tmp_path, monkeypatch):
    path, *_ = write_mat(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match="pip install h5py"):
        opened(path)


@pytest.mark.parametrize("name", ["splits.mat", "nyu_depth_v2_labeled.mat"])
def test_an_absent_file_says_what_to_download(tmp_path, name):
    path, *_ = write_mat(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name} does not exist. Download"):
        opened(path)


@pytest.mark.parametrize("name", ["splits.mat", "nyu_depth_v2_labeled.mat"])
def test_a_damaged_file_is_named(tmp_path, name):
    path, *_ = write_mat(tmp_path)
    (tmp_path / name).write_bytes(b"<html>404</html>" * 40)
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        opened(path)


def test_depth_of_another_size(tmp_path):
    path, *_ = write_mat(tmp_path, depth_shape=(HEIGHT, WIDTH))
    with pytest.raises(InputError, match="expected .N, 3, W, H. and .N, W, H."):
        opened(path)


def test_another_file_of_matlab(tmp_path):
    path, *_ = write_mat(tmp_path)
    with h5py.File(path, "w") as file:
        file["labels"] = np.zeros(3)
    with pytest.raises(InputError, match="holds labels; expected images and depths"):
        opened(path)


@pytest.mark.parametrize("number", [0, 6])
def test_a_split_of_another_file(tmp_path, number):
    path, *_ = write_mat(tmp_path, test=((1,), (number,)))
    with pytest.raises(InputError, match=f"names image {number} "):
        opened(path)


def test_nan_is_refused(tmp_path):
    path, *_ = write_mat(tmp_path)
    with h5py.File(path, "r+") as file:
        file["depths"][3, 2, 2] = np.nan
    with pytest.raises(InputError, match="depths of image 4 of .* NaN"):
        opened(path)[1]
