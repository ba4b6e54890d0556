import glob
import re
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.depth_files import DepthFiles
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
        invalid: Values in a depth file that stand for unknown depth, besides 0.
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
        _check_settings(images, depths, depth_scale, held_out)
        self.root, self.images, self.depths = Path(root).expanduser(), images, depths
        self.depth_scale, self.invalid = depth_scale, invalid or []
        self.size, self.held_out = size, held_out

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly mirrored and recoloured."""
        pairs = _pairs(_matches(self.root, self.images), _matches(self.root, self.depths))
        first = len(pairs) - max(1, round(self.held_out * len(pairs)))
        if split == "train" and first == 0:
            raise InputError(
                f"data.held_out={self.held_out} holds out all {len(pairs)} pairs of {self.root}; training "
                "needs some. Set it to e.g. 0.2."
            )
        chosen = pairs[:first] if split == "train" else pairs[first:]
        return DepthFiles(chosen, self.depth_scale, self.invalid, self.size, augment=split == "train")


def _check_settings(images: str, depths: str, depth_scale: float, held_out: float) -> None:
    absolute = images.startswith("/") or depths.startswith("/")
    stars = images.count("*"), depths.count("*")
    if absolute or "**" in images + depths or stars[0] != stars[1] or not stars[0]:
        raise InputError(f"data.images={images!r} and data.depths={depths!r} cannot be paired. {_REMEDY}")
    if depth_scale <= 0:
        raise InputError(f"data.depth_scale={depth_scale}; expected a positive number of units to the metre.")
    if not 0 < held_out <= 1:
        raise InputError(f"data.held_out={held_out}; expected a share above 0, at most 1.")


def _matches(root: Path, pattern: str) -> dict[tuple[str, ...], Path]:
    """Return the files of a pattern by what each `*` stands for."""
    stars = re.compile(re.escape(pattern).replace(r"\*", "([^/]*)"))
    paths = root.glob(glob.escape(pattern).replace("[*]", "*"))
    found = ((stars.fullmatch(path.relative_to(root).as_posix()), path) for path in paths)
    files = {match.groups(): path for match, path in found if match}
    if not files:
        raise InputError(f"no file {pattern!r} in {root}. {_REMEDY}")
    return files


def _pairs(
    images: dict[tuple[str, ...], Path], depths: dict[tuple[str, ...], Path]
) -> list[tuple[Path, Path]]:
    alone = [path for key, path in (images | depths).items() if (key in images) != (key in depths)]
    if alone:
        raise InputError(
            f"{len(alone)} of {len(images)} images and {len(depths)} depth files have no partner, e.g. "
            f"{alone[0]}. {_REMEDY}"
        )
    return [(images[key], depths[key]) for key in sorted(images)]
