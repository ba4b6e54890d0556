"""What a batch holds; every room reads these keys and no others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dds.errors import InputError

IGNORED = 255
"""The label of pixels that count neither in a loss nor in a metric; a task may name another."""

_ROUNDING = 1e-5  # what float arithmetic may leave of a value in [0, 1]

NOT_FINITE = "not_finite"
"""The mark of images whose answer, or that themselves when shown, were not finite: they count as wrong."""

BROKEN_GRADIENT = "broken_gradient"
"""The mark of images whose attack met a gradient that is not finite."""

ZERO_GRADIENT = "zero_gradient"
"""The mark of images whose attack met a gradient that is zero in every pixel, and so stood still."""

DOUBTFUL_GRADIENT = "doubtful_gradient"
"""The mark of images attacked through something whose gradient is not what differences say."""

NOT_A_FUNCTION = "not_a_function"
"""The mark of images whose answer hangs on more than the image: on its batch, or on when it is asked."""

MARKS = (NOT_FINITE, NOT_A_FUNCTION, BROKEN_GRADIENT, ZERO_GRADIENT, DOUBTFUL_GRADIENT)
"""Statistics that are 1 where an image is marked, else 0."""

NO_CLASS = -1
"""The decision where the logits are not finite; no label is equal to it, so it counts as wrong."""

UNTOUCHED = "clean/-/t0"
"""Key of the condition that has neither attack nor defence."""

EXAMPLES = 4
"""How many images of a batch a record keeps for the figures."""


class Relevance(IntEnum):
    """What an image of the database is to a query (Radenovic et al., CVPR 2018, section 3.2)."""

    NEGATIVE = 0
    JUNK = 1
    EASY = 2
    HARD = 3


@dataclass
class View:
    """What the task is shown of a batch under one or more conditions.

    Attributes:
        conditions: Keys of the conditions that share this view, e.g. `("pgd/same/t50", "pgd/t50/t50")`.
        attacked: `[B, 3, H, W]` the images before any purification.
        draws: The images after purification, one tensor a noise draw; made when asked for.
        defence: Key of the defence, e.g. `t50`; `t0` for none.
        first_draw: Number of the first of the draws.
        marks: Name to `[B]`, what else is to be recorded of each image.
        votes: From the decisions on all draws, `[K, B, ...]`, to what is to be recorded of them, by name,
            besides their combination.
    """

    conditions: tuple[str, ...]
    attacked: Tensor
    draws: Iterable[Tensor]
    defence: str = "t0"
    first_draw: int = 0
    marks: dict[str, Tensor] = field(default_factory=dict)
    votes: Callable[[Tensor], dict[str, Tensor]] | None = None


@dataclass
class Record:
    """What came out of one noise draw of a view.

    Attributes:
        conditions: Keys of the conditions that it belongs to.
        draw: Number of the draw; None for the combined decision over all draws.
        statistics: Name to `[B]` or `[B, C]`, on the CPU.
        examples: Pictures of the first few images, for the figures: `attacked`, `shown` and `decision`,
            `[n, H, W, 3]` uint8, or captions of decisions; of the first draw in the first batch, else empty.
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
        real: How many images are the data set's; those behind repeat the last one and are not recorded. All
            batches of images of one size are so equally full, on which the networks' rounding depends.
            Default: all.
        label: `[B]` int64 class of the image.
        labels: `[B, C]` float32, 1 for every class that the image shows, 0 else, -1 where that is not known.
        mask: `[B, H, W]` int64 class of each pixel, `IGNORED` where it is ignored.
        depth: `[B, H, W]` float32 metres, 0 where it is not known.
        boxes: `[B, M, 4]` float32 x1, y1, x2, y2 in pixel edges; zeros in unused places.
        classes: `[B, M]` int64 class of each box, from 1 on (0 is the detectors' background), -1 in unused
            places.
        crowd: `[B, M]` bool, boxes around many objects: a detection there is neither right nor wrong.
        identity: `[B]` int64, the same for images of the same thing; retrieval is trained on it.
        relevance: `[B, D]` int8, what each image of the database is to this query; `Relevance` says.
        features: `[B, F]` unit vectors, pooled features of the image before attack and purification; put here
            by the task.
        positive: `[B, F]` mean descriptor of the database's images that are right for the query; put here by
            the task.
        views: what the image is shown as (attacked, purified); put here by the `AttackAndPurify` callback.
    """

    image: Tensor
    index: Tensor
    real: int
    label: Tensor
    labels: Tensor
    mask: Tensor
    depth: Tensor
    boxes: Tensor
    classes: Tensor
    crowd: Tensor
    identity: Tensor
    relevance: Tensor
    features: Tensor
    positive: Tensor
    views: Iterator[View]


def to_uint8(image: Tensor) -> NDArray[np.uint8]:
    """Return images `[n, 3, H, W]` in [0, 1] as pictures, `[n, H, W, 3]`."""
    grey_levels: NDArray[np.uint8] = (
        (image.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    )
    return grey_levels


def check_batch(batch: Batch, target: str) -> None:
    """Refuse a batch that lacks what a task needs, and its images if `check_images` does.

    Args:
        batch: The batch, whose images are freed of rounding.
        target: What the task is scored by.

    Raises:
        InputError: Naming what is absent.
    """
    if target not in batch:
        there = ", ".join(key for key in batch if key not in ("index", "real"))
        raise InputError(
            f"the data holds {there}, but the task is scored by batch[{target!r}]. Choose a data module for "
            "this task, or give each sample that key."
        )
    batch["image"] = check_images(batch["image"])


def check_images(image: Tensor) -> Tensor:
    """Refuse images that are not float RGB in [0, 1], of 32 bits or, for a trainer that works in double, 64.

    Args:
        image: `[B, 3, H, W]`.

    Returns:
        The images; what float arithmetic left a little outside [0, 1] is 0 or 1.

    Raises:
        InputError: On another shape or type, on NaN, and on values outside [0, 1].
    """
    if image.ndim != 4 or image.shape[1] != 3 or image.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"batch['image'] is {image.dtype} of shape {tuple(image.shape)}; expected float32 [B, 3, H, W]. "
            "Convert in the data module (uint8 / 255)."
        )
    low, high = torch.aminmax(image)
    if torch.isnan(low + high):
        raise InputError("batch['image'] holds NaN; check how the data module reads its files.")
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise InputError(
            f"batch['image'] spans [{low:.3f}, {high:.3f}]; expected [0, 1] without normalisation: "
            "divide by 255 in the data module and give mean and std to the task."
        )
    return image.clamp(0, 1)
