from typing import cast

import torch.nn.functional as F
from torch import Tensor

from dds.errors import InputError
from dds.noise import Streams
from dds.numbers import real, whole
from dds.purifiers.base import Transformation
from dds.purifiers.straight_through import straight_through


class ResizeOnly(Transformation):
    """Resizes images and back, bilinear with antialiasing: what a purifier of another size does at least.

    Args:
        factor: What both sides are multiplied by, e.g. 0.5.
        side: Or the pixels that the shorter side gets; the other keeps the proportion.
    """

    def __init__(self, factor: float | None = None, side: int | None = None) -> None:
        super().__init__()
        factor = None if factor is None else real("factor", factor)
        side = None if side is None else whole("side", side, least=None)
        given = [value for value in (factor, side) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise InputError(
                f"ResizeOnly has factor={factor}, side={side}; expected one of them, positive. "
                "Set factor: 0.5 to halve both sides, or side: 256 for the shorter one."
            )
        self.factor, self.side = factor, side

    def transform(self, image: Tensor, streams: Streams) -> Tensor:
        """Resize `[B, 3, H, W]` images and back."""
        sides = image.shape[-2:]
        factor = cast(float, self.factor) if self.side is None else self.side / min(sides)
        between = _resize(image, [max(1, round(length * factor)) for length in sides])
        back = _resize(between, list(sides))
        return straight_through(back.clamp(0, 1), back)  # rounding past 1 must not stop the gradient


def _resize(image: Tensor, sides: list[int]) -> Tensor:
    return F.interpolate(image, sides, mode="bilinear", antialias=True)
