"""Climbing with one perturbation for many images."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from dds.attacks.broken_gradients import watch_gradients
from dds.attacks.gradient import expected_gradient, unit, within
from dds.attacks.objectives.base import Value
from dds.batch import Batch, check_images
from dds.noise import Streams
from dds.telling import aside

_PURPOSE = "universal"

Bind = Callable[[Batch, float], Value]
"""From a minibatch and the share of the steps that is done to what is maximised there."""


@dataclass(frozen=True)
class Steps:
    """How a perturbation is made.

    Attributes:
        eps: Budget in [0, 1] pixel units.
        norm: `linf` or `l2`.
        step_size: Length of a step in the same units.
        epochs: How often all minibatches are gone through.
        eot: Noise draws for each gradient.
    """

    eps: float
    norm: str
    step_size: float
    epochs: int
    eot: int

    def climb(self, batches: Collection[Batch], bind: Bind, like: Tensor, seed: int) -> Tensor:
        """Return a perturbation, `[3, H, W]`; 0 where no gradient has ever moved it.

        Args:
            batches: Minibatches, in the order in which each takes a step.
            bind: What is maximised.
            like: `[B, 3, H, W]`, an image of the size, type and device that it is for.
            seed: Of the random numbers, each of which belongs to an image and a step.
        """
        perturbation = self._start(like[:1], Streams(seed, (0,), (_PURPOSE, "start")))
        total, step, moved = self.epochs * len(batches), 0, False
        for _ in range(self.epochs):
            for batch in batches:
                with aside(f"universal perturbation, step {step + 1} of {total}"):
                    own = placed(batch, like)
                    streams = Streams(seed, tuple(own["index"].tolist()), (_PURPOSE, step))
                    gradient = self._gradient(perturbation, own["image"], bind(own, step / total), streams)
                step, moved = step + 1, moved or bool(gradient.any())
                direction = gradient.sign() if self.norm == "linf" else unit(gradient)
                perturbation = within(perturbation + self.step_size * direction, self.eps, self.norm)
        return perturbation[0] * moved

    def _start(self, like: Tensor, streams: Streams) -> Tensor:
        if self.norm == "linf":
            return (2 * streams.uniform(like) - 1) * self.eps
        return unit(streams.normal(like)) * self.eps

    def _gradient(self, perturbation: Tensor, image: Tensor, value: Value, streams: Streams) -> Tensor:
        """Return the gradient by the perturbation, `[1, 3, H, W]`, summed over images and noise draws."""

        def of_each(rows: Tensor, streams: Streams) -> Tensor:
            return value((image + rows).clamp(0, 1), streams)

        rows = perturbation.expand_as(image).clone()
        with watch_gradients():  # so that nothing is noted of images that are measured, by the same index
            return expected_gradient(rows, of_each, streams, self.eot).sum(0, keepdim=True)


def placed(batch: Batch, like: Tensor) -> Batch:
    """Return a batch on the device, and with floats of the type, of images."""
    values = {key: value for key, value in cast(Any, batch).items() if isinstance(value, Tensor)}
    own: Any = {
        key: value.to(like.device, like.dtype if value.is_floating_point() else None)
        for key, value in values.items()
    }
    own["image"] = check_images(own["image"])
    return cast(Batch, own)
