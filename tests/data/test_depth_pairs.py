import numpy as np
import pytest
from PIL import Image

from dds.data.depth_pairs import DepthPairs
from dds.errors import InputError


def write_folder(root, names, images="{}_rgb.png", depths="{}_depth.png"):
    """Write pairs whose depth is 1, 2, ... metres in the order of the names."""
    for number, name in enumerate(names):
        for pattern, array in (
            (images, np.full((6, 8, 3), 128, dtype=np.uint8)),
            (depths, np.full((6, 8), 1000 * (number + 1), dtype=np.uint16)),
        ):
            path = root / pattern.format(*name.split("|"))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    return str(root)


def metres(dataset):
    return [dataset[index]["depth"].unique().item() for index in range(len(dataset))]


def test_the_last_share_is_held_out(tmp_path):
    root = write_folder(tmp_path, [f"{number:03d}" for number in range(10)])
    data = DepthPairs(root, held_out=0.3)
    assert metres(data.load("test")) == metres(data.load("val")) == [8, 9, 10]
    assert metres(data.load("train")) == [1, 2, 3, 4, 5, 6, 7]


def test_everything_is_evaluated_by_default(tmp_path):
    data = DepthPairs(write_folder(tmp_path, ["a", "b"]))
    assert metres(data.load("test")) == [1, 2]
    with pytest.raises(InputError, match="held_out"):
        data.train_dataloader()


def test_pairs_in_folders_of_their_own(tmp_path):
    root = write_folder(tmp_path, ["one|7", "two|7"], "{}/rgb/{}.png", "{}/depth[m]/d_{}.png")
    (tmp_path / "one" / "deeper").mkdir()
    data = DepthPairs(root, images="*/rgb/*.png", depths="*/depth[m]/d_*.png")
    assert metres(data.load("test")) == [1, 2]


@pytest.mark.parametrize("lost", ["b_rgb.png", "b_depth.png"])
def test_a_file_without_its_partner_is_named(tmp_path, lost):
    root = write_folder(tmp_path, ["a", "b", "c"])
    (tmp_path / lost).unlink()
    kept = {"b_rgb.png": "b_depth", "b_depth.png": "b_rgb"}[lost]
    with pytest.raises(
        InputError, match=rf"1 of . images and . depth files have no partner, e\.g\. .*{kept}"
    ):
        DepthPairs(root).load("test")


def test_an_absent_folder_says_how_it_should_look(tmp_path):
    with pytest.raises(InputError, match=r"no file '\*_rgb\.png' in .*data\.root"):
        DepthPairs(str(tmp_path / "nothing")).test_dataset()


@pytest.mark.parametrize(
    "settings",
    [
        {"images": "rgb.png"},
        {"images": "*/*_rgb.png"},
        {"images": "**/*_rgb.png", "depths": "**/*_depth.png"},
        {"images": "/a/*.png", "depths": "/b/*.png"},
        {"depth_scale": 0},
        {"held_out": 0},
        {"held_out": 1.5},
    ],
)
def test_settings_that_mean_nothing(settings):
    with pytest.raises(InputError, match=f"data.{next(iter(settings))}"):
        DepthPairs("data", **settings)


@pytest.mark.parametrize(
    ("folder", "settings", "name", "scale", "count"),
    [
        ("nyuv2_pairs", {"depth_scale": 5000}, "000464_depth.png", 5000, 2),
        ("kitti_pairs", {"depth_scale": 256}, "000002_depth.png", 256, 3),
        (
            "sevenscenes_rgbd",
            {"images": "*.color.jpg", "depths": "*.depth.png", "invalid": [0, 65535]},
            None,
            1000,
            75,
        ),
    ],
)
def test_real_folders(shared_data, folder, settings, name, scale, count):
    root = shared_data / "depth" / folder
    dataset = DepthPairs(str(root), **settings).load("test")
    assert len(dataset) == count
    sample = dataset[count - 1]
    assert sample["image"].shape[1:] == sample["depth"].shape
    raw = np.array(Image.open(root / name if name else max(root.glob("*.depth.png")))).astype(np.float32)
    raw[raw == 65535] = 0
    np.testing.assert_allclose(sample["depth"].numpy(), raw / scale, rtol=1e-6)
    assert 0.5 < sample["depth"][sample["depth"] > 0].median() < 30  # rooms and streets


def test_real_frames_share_a_batch_when_resized(shared_data):
    data = DepthPairs(
        str(shared_data / "depth" / "kitti_pairs"), depth_scale=256, size=(96, 320), batch_size=3
    )
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == (3, 3, 96, 320)
    assert batch["depth"].shape == (3, 96, 320)
    assert ((batch["depth"] > 0).flatten(1).float().mean(1) > 0.02).all()  # sparse, as the sensor is
