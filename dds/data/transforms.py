"""How images are brought to one size, and varied for training."""

import torch
from torchvision.transforms import v2

from dds.data.resizing import check_size
from dds.errors import InputError


def resize_to(size: tuple[int, int] | None, augment: bool) -> v2.Transform:
    """Resize to one height and width, whatever the shape; the whole image stays in view.

    Args:
        size: `(height, width)`; None leaves images as they are.
        augment: Crop (30 to 100 % of the area, in about the size's shape), mirror and recolour at random.

    Returns:
        A transform of uint8 images, antialiased bilinear, and of their masks, nearest.

    Raises:
        InputError: If a side is not positive.
    """
    check_size(size)
    if not augment:
        return v2.Identity() if size is None else v2.Resize(size, antialias=True)
    crop = v2.Identity() if size is None else _random_crop(size)
    recolour = v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3)
    return v2.Compose([crop, v2.RandomHorizontalFlip(), recolour])


def _random_crop(size: tuple[int, int]) -> v2.Transform:
    shape = size[1] / size[0]
    return v2.RandomResizedCrop(size, scale=(0.3, 1.0), ratio=(0.825 * shape, 1.2 * shape), antialias=True)


def resize_and_crop(resize: int | None, crop: int | None, augment: bool) -> v2.Transform:
    """Resize the shorter side and cut a square out of the centre, as is usual for ImageNet.

    Args:
        resize: Length of the shorter side; None leaves images as they are.
        crop: Side of the square; None keeps the whole image.
        augment: Cut a random 8 to 100 % of the area instead (Szegedy et al., CVPR 2015, section 6), and
            mirror at random.

    Returns:
        A transform of uint8 images, antialiased bilinear.

    Raises:
        InputError: If a side is not positive, or the square does not fit.
    """
    _check_sides(resize, crop)
    whole = v2.Identity() if resize is None else v2.Resize(resize, antialias=True)
    if augment:
        varied = whole if crop is None else v2.RandomResizedCrop(crop, antialias=True)
        return v2.Compose([varied, v2.RandomHorizontalFlip()])
    return whole if crop is None else v2.Compose([whole, v2.CenterCrop(crop)])


def size_after(transform: v2.Transform, size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of what a transform makes of an image of others; no pixel is computed."""
    height, width = transform(torch.empty(3, *size, dtype=torch.uint8, device="meta")).shape[1:]
    return height, width


def _check_sides(resize: int | None, crop: int | None) -> None:
    for name, side in (("resize", resize), ("crop", crop)):
        if side is not None and side < 1:
            raise InputError(
                f"data.{name}={side}; expected at least 1 pixel, or null for images as they are."
            )
    if crop is not None and (resize is None or resize < crop):
        raise InputError(
            f"data.crop={crop} does not fit in data.resize={resize}. Set data.resize to at least data.crop, "
            "or data.crop to null."
        )
