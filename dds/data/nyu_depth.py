from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.depth_files import DepthFiles
from dds.data.files import read_lines
from dds.data.listing import inside, require_files
from dds.data.nyu_labelled import DepthField, NyuLabelled
from dds.errors import InputError

_MILLIMETRES = 1000.0
_REMEDY = (
    "Prepare NYU Depth v2 as the BTS depth network does (github.com/cleinc/bts): test images in "
    "official_splits/test/<scene>/rgb_00045.jpg with sync_depth_00045.png, training images likewise in "
    "sync/<scene>, and nyudepthv2_test_files_with_gt.txt and nyudepthv2_train_files_with_gt.txt, all in "
    "data.root; or set data.root to the published nyu_depth_v2_labeled.mat, with splits.mat beside it."
)


class NyuDepth(BaseDataModule):
    """NYU Depth v2, 480x640: the usual 654 test images, as png files or in the published MATLAB file.

    The two differ: the png files hold the sensor's own depth (`rawDepths`, 0 where there is none) and images
    with a black border; the published file also has the depth with holes filled in (`depths`).

    Args:
        root: Folder with the files of a list of pairs, or `nyu_depth_v2_labeled.mat` beside `splits.mat`.
        size: `[height, width]` that images and depth are resized to; null as they are. The Eigen crop of the
            metrics speaks of 480x640.
        test_list: File list below `root`, lines `<image> <depth> <focal length>`; `val` and `test` both.
        test_folder: Folder below `root` that its names start from.
        train_list: File list for training.
        train_folder: Folder that its names start from.
        mat_field: Which depth of the published file is taken.
        **options: Those of `BaseDataModule`.
    """

    def __init__(
        self,
        root: str = "data/nyu_depth_v2",
        size: tuple[int, int] | None = None,
        test_list: str = "nyudepthv2_test_files_with_gt.txt",
        test_folder: str = "official_splits/test",
        train_list: str = "nyudepthv2_train_files_with_gt.txt",
        train_folder: str = "sync",
        mat_field: DepthField = "depths",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.size, self.mat_field = Path(root).expanduser(), size, mat_field
        self.lists = {True: (train_list, train_folder), False: (test_list, test_folder)}

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly mirrored and recoloured."""
        training = split == "train"
        if self.root.suffix == ".mat":
            part = "trainNdxs" if training else "testNdxs"
            return NyuLabelled(self.root, part, self.mat_field, self.size, augment=training)
        names, folder = self.lists[training]
        pairs = _listed(self.root / names, self.root / folder)
        return DepthFiles(pairs, _MILLIMETRES, size=self.size, augment=training)


def _listed(names: Path, folder: Path) -> list[tuple[Path, Path]]:
    if not names.is_file():
        raise InputError(f"file list {names} does not exist. {_REMEDY}")
    rows = [line.split() for line in read_lines(names)]
    short = [row for row in rows if len(row) < 2]
    if short:
        raise InputError(f"{names} has the line {' '.join(short[0])!r}; expected image and depth. {_REMEDY}")
    # The training list's names begin with a slash, the test list's do not.
    pairs = [
        (inside(folder, image.lstrip("/"), names), inside(folder, depth.lstrip("/"), names))
        for image, depth, *_ in rows
    ]
    require_files([path for pair in pairs for path in pair], _REMEDY)
    return pairs
