import torch
from torch import Tensor


def count_classes(classes: Tensor, counted: Tensor, number: int) -> Tensor:
    """Count, for each image, the pixels of each class.

    An attack may ask for it at every step: one-hot masks would cost more than its network.

    Args:
        classes: `[B, ...]` int64 class of each pixel.
        counted: The same shape, which pixels count; their classes are in [0, number).
        number: How many classes there are.

    Returns:
        `[B, number]` int64.
    """
    slots = classes.where(counted, number).flatten(1)  # what does not count goes into one more
    counts = slots.new_zeros(len(slots), number + 1)
    return counts.scatter_add(1, slots, torch.ones_like(slots))[:, :-1]
