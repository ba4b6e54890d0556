import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dds.data.depth_images import DepthImages
from dds.data.files import ImageFile, check_pixels, image_size, read_image, read_values
from dds.errors import InputError


class DepthFiles(DepthImages):
    """Pairs of an image file and a depth file.

    Args:
        pairs: Image and depth of each sample.
        depth_scale: What a depth file counts for one metre, e.g. 1000 for millimetres.
        invalid: Values in a depth file that stand for unknown depth, besides 0; NaN and infinity may be some.
        size: As for `DepthImages`.
        augment: As for `DepthImages`.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[ImageFile, ImageFile]],
        depth_scale: float,
        invalid: Sequence[float] = (),
        size: tuple[int, int] | None = None,
        augment: bool = False,
    ) -> None:
        super().__init__(size, augment)
        self.pairs, self.depth_scale, self.invalid = list(pairs), depth_scale, list(invalid)

    @property
    def image_paths(self) -> list[ImageFile]:
        """The file of each image."""
        return [image for image, _ in self.pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> tuple[str, Tensor, Tensor]:
        """Read a pair; depth becomes metres, 0 where it is unknown."""
        image, depth = self.pairs[index]
        raw = _read_raw(depth)
        values = raw.double()
        precision = raw.dtype if raw.is_floating_point() else torch.float64
        unknown = torch.isin(values, torch.tensor(self.invalid, dtype=precision).double())
        if any(map(math.isnan, self.invalid)):
            unknown |= values.isnan()  # which equals nothing
        values[unknown] = 0
        return str(depth), read_image(image), (values / self.depth_scale).float()

    def size_of(self, index: int) -> tuple[int, int]:
        """Return height and width of an image as it is returned."""
        return self.size or image_size(self.pairs[index][0])


def _read_raw(path: ImageFile) -> Tensor:
    """Return what a depth file holds, `[H, W]`: an array (`.npy`) or an image of one channel."""
    raw = _read_array(path) if isinstance(path, Path) and path.suffix == ".npy" else read_values(path)
    if raw.ndim == 3 and len(raw) == 1:
        raw = raw[0]
    if raw.ndim != 2 or raw.is_complex():
        raise InputError(
            f"{path} has shape {tuple(raw.shape)}; expected one value for each pixel. Give the depth itself, "
            "not a coloured picture of it."
        )
    check_pixels(path, *raw.shape)
    return raw


def _read_array(path: Path) -> Tensor:
    try:
        # mapped, so that no room is made for what the header alone claims to be there
        return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
    except Exception as error:  # a damaged file raises almost anything
        raise InputError(f"{path} cannot be read as an array of numbers: {error}. Write it again.") from error
