from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from dds.errors import InputError

GREY = 114
"""What letterboxes and borders are filled with, out of 255, as the YOLO detectors were trained with."""


def check_size(size: int | Sequence[int] | None) -> None:
    """Refuse a size that no image can have.

    Raises:
        InputError: If a side is smaller than one pixel.
    """
    sides = [size] if isinstance(size, int) else list(size or [])
    if any(side < 1 for side in sides):
        raise InputError(f"data.size={size}; expected sides of at least one pixel.")


def resize(image: Tensor, size: int | tuple[int, int] | None) -> Tensor:
    """Resize an image, bilinear and antialiased.

    Args:
        image: `[3, H, W]` uint8.
        size: `(height, width)`; or an int, the most that the longer side may measure: larger images are
            shrunk, with their aspect ratio, and smaller ones stay as they are; or None, as it is.
    """
    wanted = resized((image.shape[1], image.shape[2]), size)
    if tuple(image.shape[1:]) == wanted:
        return image
    return F.resize(image, list(wanted), antialias=True)  # type: ignore[no-any-return]


def resized(before: tuple[int, int], size: int | tuple[int, int] | None) -> tuple[int, int]:
    """Return height and width of what `resize` makes of an image that had others before."""
    if isinstance(size, int):
        return _scaled(before, min(1.0, size / max(before)))
    return before if size is None else (size[0], size[1])


def letterbox(image: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple[float, float]]:
    """Fit an image into a frame: aspect ratio kept, placed at the top left, the rest grey.

    Args:
        image: `[3, H, W]` uint8.
        size: Height and width of the frame.

    Returns:
        `[3, *size]` uint8, and by how much x and y were scaled.
    """
    height, width = image.shape[1:]
    fitted = resize(image, _scaled((height, width), min(size[0] / height, size[1] / width)))
    framed = torch.full((3, *size), GREY, dtype=torch.uint8)
    framed[:, : fitted.shape[1], : fitted.shape[2]] = fitted
    return framed, (fitted.shape[2] / width, fitted.shape[1] / height)


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
