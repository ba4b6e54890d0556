from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from dds.attacks.objectives.base import Scheduled, Value, at, judge
from dds.noise import Streams


@dataclass(frozen=True)
class Pullback(Scheduled):
    """The value of what images are made from, such as a perturbation or a flow: that of the images.

    Attributes:
        value: The images' value.
        make: From points `[B, C, h, w]` to images `[B, 3, H, W]`; gradients pass through it.
        cost: What a point costs, `[B]`, whatever its image is: taken off the value, and off what points are
            chosen by.
        course: The part of the whole attack, from 0 to 1, that this one is.
    """

    value: Value
    make: Callable[[Tensor], Tensor]
    cost: Callable[[Tensor], Tensor | float] = lambda point: 0.0
    course: tuple[float, float] = (0.0, 1.0)

    def __call__(self, point: Tensor, streams: Streams) -> Tensor:
        """Return the value of points; see `Value`."""
        return self.value(self.make(point), streams) - self.cost(point)

    def at(self, progress: float) -> Value:
        """Return the value of then; see `Scheduled`."""
        begin, end = self.course
        return replace(self, value=at(self.value, begin + (end - begin) * progress))

    def judge(self, point: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return the value and what points are chosen by; see `Scheduled`."""
        value, harm = judge(self.value, self.make(point), streams)
        cost = self.cost(point)
        return value - cost, (harm - cost).detach()
