import numpy as np
import pytest
import torch
from PIL import Image

from dds.data.depth_files import DepthFiles
from dds.errors import InputError


def write_pair(folder, depth, shape=None, name="depth.png"):
    """Write an image that is as bright as its column counts, and depth as it is given."""
    height, width = shape or depth.shape[:2]
    grey = np.broadcast_to(np.arange(width, dtype=np.uint8), (height, width))
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(folder / "image.png")
    if name.endswith(".npy"):
        np.save(folder / name, depth)
    else:
        Image.fromarray(depth).save(folder / name)
    return [(folder / "image.png", folder / name)]


def columns(height=12, width=48, dtype=np.uint16):
    return np.ascontiguousarray(np.broadcast_to(np.arange(width, dtype=dtype) + 1, (height, width)))


def test_units_and_invalid_values(tmp_path):
    depth = columns()
    depth[0, :3] = [0, 65535, 12345]
    sample = DepthFiles(write_pair(tmp_path, depth), depth_scale=256, invalid=[65535])[0]
    assert sample["depth"].dtype == torch.float32
    assert sample["depth"][0, :3].tolist() == [0, 0, 12345 / 256]
    assert torch.equal(sample["depth"][1], torch.arange(1, 49) / 256)
    assert torch.equal(sample["image"][0, 0], torch.arange(48) / 255)


@pytest.mark.parametrize("name", ["depth.npy", "depth.tiff"])
def test_files_of_floats(tmp_path, name):
    depth = columns(dtype=np.float32) / 8
    depth[0, 0] = -1
    sample = DepthFiles(write_pair(tmp_path, depth, name=name), depth_scale=1, invalid=[-1])[0]
    assert sample["depth"][0, 0] == 0
    assert torch.equal(sample["depth"][1:], torch.from_numpy(depth[1:]))


@pytest.mark.parametrize("unknown", [float("nan"), float("inf"), -float("inf"), -9999.9])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_what_stands_for_unknown_depth_in_the_precision_of_the_file(tmp_path, unknown, kind):
    depth = columns(dtype=np.float64).astype(kind)
    depth[0, :2] = unknown
    pairs = write_pair(tmp_path, depth, name="depth.npy")
    sample = DepthFiles(pairs, depth_scale=1, invalid=[0.5, unknown])[0]
    assert sample["depth"][0, :3].tolist() == [0, 0, 3]
    with pytest.raises(InputError, match=r"NaN, infinite or negative.*data\.invalid .*\[\.nan, \.inf\]"):
        DepthFiles(pairs, depth_scale=1)[0]


@pytest.mark.parametrize("name", ["depth.jpg", "depth.webp"])
def test_depth_that_was_compressed_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name} holds values that its compression has changed"):
        DepthFiles(write_pair(tmp_path, columns(dtype=np.uint8), name=name), depth_scale=1)[0]


def test_a_resized_image_and_its_depth_stay_in_place(tmp_path):
    sample = DepthFiles(write_pair(tmp_path, columns()), depth_scale=1, size=(4, 16))[0]
    assert sample["image"].shape == (3, 4, 16)
    # The middle of each three columns: depth is exactly theirs, brightness is about it.
    assert torch.equal(sample["depth"][0], torch.arange(16) * 3 + 2.0)
    assert (sample["image"][0, 0] * 255 - (sample["depth"][0] - 1)).abs().max() <= 1


def test_training_mirrors_image_and_depth_alike(tmp_path):
    dataset = DepthFiles(write_pair(tmp_path, columns()), depth_scale=1, augment=True)
    torch.manual_seed(0)
    directions = set()
    for sample in (dataset[0] for _ in range(12)):
        rise = (sample["depth"][0, -1] > sample["depth"][0, 0]).item()
        assert rise == (sample["image"][0, 0, -1] > sample["image"][0, 0, 0]).item()
        directions.add(rise)
    assert directions == {True, False}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.5])
def test_impossible_depth_is_refused(tmp_path, bad):
    depth = columns(dtype=np.float32)
    depth[3, 3] = bad
    with pytest.raises(
        InputError, match=r"depth\.npy holds depth that is NaN.*Write 0 where depth is unknown"
    ):
        DepthFiles(write_pair(tmp_path, depth, name="depth.npy"), depth_scale=1)[0]


def test_no_known_depth_at_all(tmp_path):
    depth = np.full((4, 4), 65535, dtype=np.uint16)
    with pytest.raises(InputError, match="no pixel of known depth"):
        DepthFiles(write_pair(tmp_path, depth), depth_scale=1, invalid=[65535])[0]


def test_depth_of_another_size(tmp_path):
    with pytest.raises(InputError, match=r"depth\.png is \(12, 48\) but its image \(24, 96\)"):
        DepthFiles(write_pair(tmp_path, columns(), shape=(24, 96)), depth_scale=1)[0]


def test_a_picture_of_depth_is_refused(tmp_path):
    picture = np.zeros((12, 48, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="coloured picture"):
        DepthFiles(write_pair(tmp_path, picture), depth_scale=1)[0]


@pytest.mark.parametrize("name", ["depth.png", "depth.npy"])
def test_damaged_depth_is_named(tmp_path, name):
    noise = np.random.default_rng(0).integers(1, 9999, (60, 80), dtype=np.uint16)
    pairs = write_pair(tmp_path, noise, name=name)
    path = pairs[0][1]
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=name):
        DepthFiles(pairs, depth_scale=1)[0]
