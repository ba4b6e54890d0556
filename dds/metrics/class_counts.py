import torch
from torch import Tensor


def count_classes(classes: Tensor, counted: Tensor, number: int) -> Tensor:
    """Count, for each image, the pixels of each class.

    Args:
        classes: `[B, ...]` class of each pixel.
        counted: The same shape, which pixels count; their classes are in [0, number).
        number: How many classes there are.

    Returns:
        `[B, number]` int64.
    """
    images = len(classes)
    image = torch.arange(images, device=classes.device).reshape(-1, *[1] * (classes.ndim - 1))
    places = (image * number + classes)[counted]
    return places.bincount(minlength=images * number).reshape(images, number)
