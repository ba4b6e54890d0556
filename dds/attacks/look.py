from typing import NamedTuple

import torch
from torch import Tensor

from dds.attacks.broken_gradients import finite, note_zero
from dds.attacks.gradient import GradientSum, Weights
from dds.attacks.objectives.base import Value, judge
from dds.noise import Streams


class Look(NamedTuple):
    """Points, one an image, and what the attacker saw there, averaged over noise draws of its own."""

    image: Tensor  # (B, 3, H, W)
    value: Tensor  # (B,), what is climbed
    harm: Tensor  # (B,), what points are chosen by
    gradient: Tensor  # (B, 3, H, W), summed over the same draws

    def replaced(self, where: Tensor, other: "Look") -> "Look":
        """Take the points of `other` for the images `where`, `[B]`, is true."""
        wide = where.reshape(-1, 1, 1, 1)
        return Look(
            torch.where(wide, other.image, self.image),
            torch.where(where, other.value, self.value),
            torch.where(where, other.harm, self.harm),
            torch.where(wide, other.gradient, self.gradient),
        )

    def more_harmful(self, other: "Look") -> "Look":
        """Take the points of `other` for the images that they harm more; of equal harm, by the value."""
        tie = other.harm == self.harm
        return self.replaced((other.harm > self.harm) | (tie & (other.value > self.value)), other)


def look(
    image: Tensor,
    value: Value,
    streams: Streams,
    draws: int,
    climb: bool = True,
    weights: Weights = "equal",
) -> Look:
    """Return what is to be seen at `[B, 3, H, W]` points, all of it from the same noise draws.

    The gradient is zero, and not computed, where no `climb` follows; for the rest see `expected_gradient`.
    """
    leaf = image.detach().requires_grad_(climb)
    gradients = GradientSum(image, weights)
    total, harm = image.new_zeros(2, len(image))
    for draw in range(draws):
        with torch.set_grad_enabled(climb):
            seen, hurt = judge(value, leaf, streams.child("eot", draw))  # (B,) each
        if climb:
            gradients.add(finite(torch.autograd.grad(seen.sum(), leaf)[0], streams), seen)
        total, harm = total + seen.detach(), harm + hurt
    gradient = gradients.total()
    if climb:
        note_zero(streams, gradient)
    return Look(image, total / draws, harm / draws, gradient)
