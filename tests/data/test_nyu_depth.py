import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from dds.data.nyu_depth import NyuDepth
from dds.errors import InputError

# Names and lines as in the lists that come with BTS: the training list's names begin with a slash.
TEST_LIST = (
    "bathroom/rgb_00045.jpg bathroom/sync_depth_00045.png 518.8579\n"
    "kitchen/rgb_00000.jpg kitchen/sync_depth_00000.png 518.8579\n"
)
TRAIN_LIST = "/kitchen_0028b/rgb_00045.jpg /kitchen_0028b/sync_depth_00045.png 518.8579\n"


def write_pngs(root):
    for number, line in enumerate((TEST_LIST + TRAIN_LIST).splitlines()):
        folder = root / ("sync" if line.startswith("/") else "official_splits/test")
        image, depth = (folder / name.lstrip("/") for name in line.split()[:2])
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((480, 640, 3), 20 * number, dtype=np.uint8)).save(image)
        Image.fromarray(np.full((480, 640), 1500 + number, dtype=np.uint16)).save(depth)
    (root / "nyudepthv2_test_files_with_gt.txt").write_text(TEST_LIST)
    (root / "nyudepthv2_train_files_with_gt.txt").write_text(TRAIN_LIST)
    return root


def test_png_pairs_of_the_list(tmp_path):
    data = NyuDepth(str(write_pngs(tmp_path)), batch_size=2)
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == (2, 3, 480, 640)
    assert batch["depth"][:, 100, 100].tolist() == pytest.approx([1.5, 1.501])
    assert (batch["image"][1] * 255).round().unique().tolist() == [20]
    assert len(data.load("val")) == 2
    assert data.load("train")[0]["depth"].unique().item() == pytest.approx(1.502)


def test_a_missing_list_says_what_to_prepare(tmp_path):
    with pytest.raises(InputError, match=r"nyudepthv2_test_files_with_gt\.txt does not exist.*Prepare NYU"):
        NyuDepth(str(tmp_path)).test_dataset()


def test_a_missing_depth_file_is_named_before_any_work(tmp_path):
    root = write_pngs(tmp_path)
    (root / "official_splits/test/kitchen/sync_depth_00000.png").unlink()
    with pytest.raises(
        InputError, match=r"1 of 4 files do not exist, e\.g\. .*kitchen/sync_depth_00000\.png"
    ):
        NyuDepth(str(root)).test_dataset()


def test_a_line_without_depth(tmp_path):
    root = write_pngs(tmp_path)
    (root / "nyudepthv2_test_files_with_gt.txt").write_text("bathroom/rgb_00045.jpg\n")
    with pytest.raises(InputError, match=r"the line 'bathroom/rgb_00045\.jpg'; expected image and depth"):
        NyuDepth(str(root)).test_dataset()


def test_the_published_file_splits_as_its_authors_did(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        file["images"] = np.zeros((3, 3, 8, 6), dtype=np.uint8)
        file["depths"] = np.stack([np.full((8, 6), metres, dtype=np.float32) for metres in (1, 2, 3)])
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[2]], "testNdxs": [[1], [3]]})
    data = NyuDepth(str(tmp_path / "nyu_depth_v2_labeled.mat"))
    assert [data.load("test")[index]["depth"].unique().item() for index in (0, 1)] == [1, 3]
    assert data.load("train")[0]["depth"].unique().item() == 2
