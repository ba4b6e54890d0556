"""What a batch holds; every room reads these keys and no others."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from torch import Tensor

from dds.errors import InputError

IGNORED = 255
"""The label of pixels that count neither in a loss nor in a metric."""

EXAMPLES = 4
"""How many images of a batch a record keeps for the figures."""


@dataclass
class View:
    """What the task is shown of a batch under one or more conditions.

    Attributes:
        conditions: Keys of the conditions that share this view, e.g. `("pgd/same/t50", "pgd/t50/t50")`.
        attacked: `[B, 3, H, W]` the images before any purification.
        draws: The images after purification, one tensor a noise draw; made when asked for.
    """

    conditions: tuple[str, ...]
    attacked: Tensor
    draws: Iterable[Tensor]


@dataclass
class Record:
    """What came out of one noise draw of a view.

    Attributes:
        conditions: Keys of the conditions that it belongs to.
        draw: Number of the draw; None for the combined decision over all draws.
        statistics: Name to `[B]` or `[B, C]`, on the CPU.
        examples: Name to the first few images and decisions, for the figures.
    """

    conditions: tuple[str, ...]
    draw: int | None
    statistics: dict[str, Tensor]
    examples: dict[str, Any]


class Batch(TypedDict, total=False):
    """One batch of a data set; a task reads the targets that it needs.

    Attributes:
        image: `[B, 3, H, W]` float32, RGB in [0, 1], before any resize or normalisation.
        index: `[B]` int64, each image's place in its data set; random numbers and results hang on it.
        label: `[B]` int64 class of the image.
        mask: `[B, H, W]` int64 class of each pixel, 255 where it is ignored.
        views: what the image is shown as (attacked, purified); put here by the `AttackAndPurify` callback.
    """

    image: Tensor
    index: Tensor
    label: Tensor
    mask: Tensor
    views: Iterator[View]


def check_images(image: Tensor) -> None:
    """Refuse images that are not float RGB in [0, 1].

    Args:
        image: `[B, 3, H, W]`.

    Raises:
        InputError: On another shape or type, on NaN, and on values outside [0, 1].
    """
    if image.ndim != 4 or image.shape[1] != 3 or image.dtype != torch.float32:
        raise InputError(
            f"batch['image'] is {image.dtype} of shape {tuple(image.shape)}; expected float32 [B, 3, H, W]. "
            "Convert in the data module (uint8 / 255)."
        )
    low, high = torch.aminmax(image)
    if torch.isnan(low + high):
        raise InputError("batch['image'] holds NaN; check how the data module reads its files.")
    if low < 0 or high > 1:
        raise InputError(
            f"batch['image'] spans [{low:.3f}, {high:.3f}]; expected [0, 1] without normalisation: "
            "divide by 255 in the data module and give mean and std to the task."
        )
