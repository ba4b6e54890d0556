"""PGD whose steps do not each look at noise of their own: shared between steps, or mirrored in pairs."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from dds.attacks import PGD
from dds.attacks.objectives.base import Scheduled, Value, at, judge
from dds.noise import Streams

Draws = Literal["shared", "mirrored"]


class Redrawn(PGD):
    """PGD that does not draw noise anew in each step.

    Args:
        draws: `shared`: steps look at the noise of the first of so many in a row. `mirrored`: those after it
            look at it with the other sign (antithetic draws).
        together: How many those are.
        options: Of PGD.
    """

    def __init__(self, draws: Draws, together: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.draws, self.together = draws, together

    def __call__(self, image: Tensor, value: Value, streams: Streams) -> Tensor:
        """Attack `[B, 3, H, W]` images in [0, 1]; see `Optimiser`."""
        return super().__call__(image, _Redrawn(value, self.draws, self.together), streams)


@dataclass(frozen=True)
class _Redrawn(Scheduled):
    value: Value
    draws: Draws
    together: int

    def __call__(self, image: Tensor, streams: Streams) -> Tensor:
        return self.value(image, self._redraw(streams))

    def at(self, progress: float) -> Value:
        return replace(self, value=at(self.value, progress))

    def judge(self, image: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        return judge(self.value, image, self._redraw(streams))

    def _redraw(self, streams: Streams) -> Streams:
        *before, step, eot, draw = streams.path  # of `expected_gradient` in a step of PGD
        first = int(step) - int(step) % self.together
        path = (*before, first, eot, draw)
        if self.draws == "mirrored" and step != first:
            return _Mirrored(streams.seed, streams.index, path)
        return replace(streams, path=path)


class _Mirrored(Streams):
    def normal(self, like: Tensor) -> Tensor:
        return -super().normal(like)
