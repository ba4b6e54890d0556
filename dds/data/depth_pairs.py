from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.depth_files import DepthFiles
from dds.data.pairing import check_patterns, find_pairs, take_part
from dds.errors import InputError

_REMEDY = (
    "Set data.root to the folder, and data.images and data.depths to two patterns in which * stands for the "
    "same in an image and in its depth, e.g. '*_rgb.png' and '*_depth.png'."
)


class DepthPairs(BaseDataModule):
    """Any folder of images and depth files, found by two patterns.

    Two files are a pair if what `*` stands for is the same in both; it never stands for a `/`.

    Args:
        root: The folder.
        images: Pattern of the images below `root`, e.g. `*/rgb/*.png`.
        depths: Pattern of the depth files, images of one channel or `.npy`, with as many `*`.
        depth_scale: What a depth file counts for one metre: 1000 for millimetres, 5000 for TUM RGB-D, 256 for
            KITTI, 1 for metres.
        invalid: Values in a depth file that stand for unknown depth, besides 0: `[65535]`, or `[.nan, .inf]`
            for NaN and infinity.
        size: `[height, width]` that images and depth are resized to; null as they are.
        held_out: Share of the pairs, the last in the order of their names, that `val` and `test` both are;
            `train` is the rest. Neighbouring frames of a video thus stay on one side.
        **options: Those of `BaseDataModule`.
    """

    def __init__(
        self,
        root: str,
        images: str = "*_rgb.png",
        depths: str = "*_depth.png",
        depth_scale: float = 1000.0,
        invalid: list[float] | None = None,
        size: tuple[int, int] | None = None,
        held_out: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_patterns({"images": images, "depths": depths}, held_out, _REMEDY)
        if depth_scale <= 0:
            raise InputError(
                f"data.depth_scale={depth_scale}; expected a positive number of units to the metre."
            )
        self.root, self.images, self.depths = Path(root).expanduser(), images, depths
        self.depth_scale, self.invalid = depth_scale, invalid or []
        self.size, self.held_out = size, held_out

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly mirrored and recoloured."""
        pairs = find_pairs(self.root, self.images, self.depths, "depth files", _REMEDY)
        chosen = take_part(pairs, split, self.held_out)
        return DepthFiles(chosen, self.depth_scale, self.invalid, self.size, augment=split == "train")
