import math
from typing import Literal, Self

import torch
from torch import Tensor

from dds.attacks.base import one_of, whole
from dds.attacks.gradient import expected_value, length, project, unit
from dds.attacks.objectives.base import Calls, Objective, Value, at
from dds.attacks.optimiser import Optimiser
from dds.errors import InputError
from dds.noise import Streams

_HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the steps after which the window is half as large, table of Andriushchenko et al., section 5."""

_TILES = 5  # along the shorter side, of the start in L2
_TINY = 1e-12


class Square(Optimiser):
    """Square attack (Andriushchenko et al., ECCV 2020): random search, without any gradient.

    Each step changes a square window of each image at a random place, and is kept where the objective has
    grown. Linf (algorithm 2) starts from stripes, L2 (algorithm 3) from a pattern of tiles, and moves what
    another window has of the budget to the first.

    Behind a random purifier a window may look good by luck, and would then be kept for ever: so the best one
    is looked at again, on the very draws that each new one is seen through.

    Args:
        eps: Budget in [0, 1] pixel units, e.g. `8/255`.
        steps: Number of windows that are tried, each at two looks behind a random purifier and one elsewhere.
        norm: `linf` or `l2`.
        window: Share of the image's area that the first windows have; it shrinks as the attack goes on.
        eot: Noise draws that each value is averaged over.
        random_start: Start from the stripes or tiles instead of the image.
        objective: What is maximised; default the task's own loss.
    """

    def __init__(
        self,
        eps: float | str = "8/255",
        steps: int = 5000,
        norm: Literal["linf", "l2"] = "linf",
        window: float = 0.8,
        eot: int = 1,
        random_start: bool = True,
        objective: Objective | None = None,
    ) -> None:
        super().__init__(eps, objective)
        one_of("norm", norm, "linf", "l2")
        if not 0 < window <= 1:
            raise InputError(f"window={window}; expected a share of the image above 0 and up to 1.")
        self.steps, self.eot = whole("steps", steps), whole("eot", eot)
        self.norm, self.window, self.random_start = norm, window, random_start
        self._looks_again = True

    @property
    def needs_gradient(self) -> bool:
        """It asks for values alone."""
        return False

    @property
    def calls(self) -> Calls:
        """Two for each step, times draws; where nothing is random, one, and one for the start."""
        return Calls(forward=2 * self.steps * self.eot if self._looks_again else self.steps + 1)

    def with_one_draw(self) -> Self:
        """Return the same for where nothing is random, and one look at a window is enough; see `Attack`."""
        once = super().with_one_draw()
        once._looks_again = False
        return once

    def __call__(self, image: Tensor, value: Value, streams: Streams) -> Tensor:
        """Attack `[B, 3, H, W]` images in [0, 1]; see `Optimiser`."""
        best = self._start(image, streams.child("start")) if self.random_start else image
        reached = torch.empty(0)
        for step in range(1, self.steps + 1):
            tried = self._move(best, image, self._side(step, image), streams.child("step", step))
            now, draws = at(value, step / self.steps), streams.child("look", step)
            if self._looks_again or step == 1:
                reached = expected_value(best, now, draws, self.eot)  # (B,)
            found = expected_value(tried, now, draws, self.eot)
            better = found > reached
            best = torch.where(better.reshape(-1, 1, 1, 1), tried, best)
            reached = torch.where(better, found, reached)
        return best

    def _start(self, image: Tensor, streams: Streams) -> Tensor:
        if self.norm == "linf":
            stripes = _signs(streams.uniform(image[:, :, :1]))  # (B, 3, 1, W)
            return project(image + self.eps * stripes, image, self.eps, self.norm)
        side = max(min(image.shape[2:]) // _TILES, 1)
        rows, columns = (size // side for size in image.shape[2:])
        signs = _signs(streams.uniform(image[:, :, :rows, :columns]))
        offset = torch.zeros_like(image)
        offset[:, :, : rows * side, : columns * side] = torch.kron(signs, pattern(side).to(image))
        return self._fill(offset, image)

    def _side(self, step: int, image: Tensor) -> int:
        """Return the side of the window in pixels; in L2 it is odd where the image has room."""
        height, width = image.shape[2:]
        share = self.window / 2 ** sum((step - 1) / self.steps > passed for passed in _HALVINGS)
        side = round(math.sqrt(share * height * width))
        if self.norm == "l2":
            side = max(side, 3) // 2 * 2 + 1
        return min(max(side, 1), height, width)

    def _move(self, best: Tensor, image: Tensor, side: int, streams: Streams) -> Tensor:
        channels = image.shape[1]
        numbers = streams.uniform(image.new_empty(len(image), 5 + channels))  # (B, 8)
        signs = _signs(numbers[:, 5:])[:, :, None, None]  # (B, 3, 1, 1)
        window = _Window(numbers[:, 0:2], image, side)
        if self.norm == "linf":
            return project(best + 2 * self.eps * signs * window.inside, image, self.eps, self.norm)
        other, offset = _Window(numbers[:, 2:4], image, side), best - image
        either = offset * (window.inside | other.inside)
        unused = (self.eps**2 - length(offset) ** 2).clamp(min=0) / channels
        budget = (unused + either.square().sum((2, 3), keepdim=True)).sqrt()  # (B, 3, 1, 1), of the window
        fresh = signs * window.show(pattern(side).to(image), turned=numbers[:, 4] < 0.5)
        mixed = _channel_unit(fresh + _channel_unit(offset * window.inside))
        moved = torch.where(window.inside, mixed * budget, offset.masked_fill(other.inside, 0))
        return self._fill(moved, image)

    def _fill(self, offset: Tensor, image: Tensor) -> Tensor:
        return (image + self.eps * unit(offset)).clamp(0, 1)


class _Window:
    """A square at a random place of each image.

    Args:
        numbers: `[B, 2]` in [0, 1), which choose its place.
        image: `[B, C, H, W]`.
        side: Of the square, in pixels.
    """

    def __init__(self, numbers: Tensor, image: Tensor, side: int) -> None:
        self._rows, self._columns = (
            torch.arange(size, device=image.device) - (number * (size - side + 1)).long()[:, None]
            for size, number in zip(image.shape[2:], numbers.T, strict=True)
        )  # (B, H) and (B, W), counted from the window's corner
        self._side = side
        rows, columns = ((place >= 0) & (place < side) for place in (self._rows, self._columns))
        self.inside: Tensor = (rows[:, :, None] & columns[:, None])[:, None]  # (B, 1, H, W)

    def show(self, square: Tensor, turned: Tensor) -> Tensor:
        """Return `[B, 1, H, W]` that hold a square in the window, for `turned` images its transpose."""
        rows, columns = (place.clamp(0, self._side - 1) for place in (self._rows, self._columns))
        both = torch.stack([square, square.mT])
        shown: Tensor = both[turned.long()[:, None, None], rows[:, :, None], columns[:, None]]  # (B, H, W)
        return shown[:, None] * self.inside


def pattern(side: int) -> Tensor:
    """Return the pattern of a window in L2, `[side, side]` of unit length: a hill over a valley (eq. 2)."""
    hill, valley = _hill(side // 2, side), _hill(side - side // 2, side)
    return _of_unit_length(torch.cat([hill, -valley]))


def _hill(height: int, width: int) -> Tensor:
    """Return the sum of ever larger squares about the centre, the k-th of height 1 / k^2, of unit length."""
    rows, columns = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    distance = torch.maximum(rows.abs()[:, None], columns.abs()[None])
    heights = 1 / torch.arange(1, max(height, width) // 2 + 2) ** 2
    sums = heights.flip(0).cumsum(0).flip(0)  # of the squares that reach so far
    return _of_unit_length(sums[distance])


def _of_unit_length(square: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(square)
    return square / lengths.clamp(min=_TINY)


def _signs(numbers: Tensor) -> Tensor:
    """Turn numbers in [0, 1) into 1 and -1."""
    return (numbers < 0.5).to(numbers) * 2 - 1


def _channel_unit(offset: Tensor) -> Tensor:
    """Scale each channel of each image to unit length; zero stays zero."""
    lengths: Tensor = torch.linalg.vector_norm(offset, dim=(2, 3), keepdim=True)
    return offset / lengths.clamp(min=_TINY)
