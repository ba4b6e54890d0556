"""What attacks that climb a gradient share."""

from typing import Literal

import torch
from torch import Tensor

from dds.attacks.broken_gradients import finite, note_zero
from dds.attacks.objectives.base import Value
from dds.noise import Streams

Weights = Literal["equal", "falling", "holding"]
"""Which noise draws count for more in a gradient that is averaged over them.

`equal`: none. `falling`: those on which the objective is largest, so that the worst draw falls. `holding`:
those on which it is smallest, so that the mean and the vote do. After the weighted EOT of DiffHammer (Wang et
al., NeurIPS 2024): the softmax, over the draws of an image, of the objective in its standard deviations.
"""


class GradientSum:
    """The gradients of an objective on several noise draws, added up for each image.

    Args:
        like: `[B, 3, H, W]`.
        weights: What draws count; their weights add up to their number.
    """

    def __init__(self, like: Tensor, weights: Weights) -> None:
        self._sign = {"equal": 0, "falling": 1, "holding": -1}[weights]
        self._sum = torch.zeros_like(like)
        self._each: list[tuple[Tensor, Tensor]] = []

    def add(self, gradient: Tensor, value: Tensor) -> None:
        """Add a draw: its gradient, `[B, 3, H, W]`, and the objective's values, `[B]`."""
        if self._sign:
            self._each.append((gradient, value.detach()))
        else:
            self._sum += gradient

    def total(self) -> Tensor:
        """Return the sum, `[B, 3, H, W]`."""
        if not self._each:
            return self._sum
        gradients, values = (torch.stack(part) for part in zip(*self._each, strict=True))  # (K, B, ...)
        apart = values - values.mean(0)
        spread = apart.square().mean(0).sqrt()  # (B,)
        apart = torch.where(spread > 0, apart / spread, 0.0)
        shares = torch.where(apart.isfinite(), self._sign * apart, 0.0).softmax(0) * len(values)
        return (shares[:, :, None, None, None] * gradients).sum(0)


def expected_gradient(
    image: Tensor, value: Value, streams: Streams, draws: int, weights: Weights = "equal"
) -> Tensor:
    """Return the gradient of an objective, summed over noise draws (Athalye et al., ICML 2018).

    Args:
        image: `[B, 3, H, W]`, where the gradient is taken.
        value: One value an image.
        streams: Each draw gets a child of its own.
        draws: Number of draws.
        weights: Which draws count for more.

    Returns:
        `[B, 3, H, W]`, 0 where it is not finite; an image's does not depend on the rest of the batch.
    """
    leaf = image.detach().requires_grad_()
    total = GradientSum(image, weights)
    for draw in range(draws):
        seen = value(leaf, streams.child("eot", draw))  # (B,)
        total.add(finite(torch.autograd.grad(seen.sum(), leaf)[0], streams), seen)
    gradient = total.total()
    note_zero(streams, gradient)
    return gradient


def expected_value(image: Tensor, value: Value, streams: Streams, draws: int) -> Tensor:
    """Return an objective averaged over noise draws, `[B]`; see `expected_gradient`."""
    with torch.no_grad():
        return torch.stack([value(image, streams.child("eot", draw)) for draw in range(draws)]).mean(0)


def along(course: Tensor, gradient: Tensor, decay: float) -> Tensor:
    """Add gradients, each image's divided by its mean absolute value, to `decay` times those before."""
    size = gradient.abs().mean((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    return decay * course + torch.where(size > 0, gradient / size, 0.0)


def length(vector: Tensor) -> Tensor:
    """Return the L2 norm of each image, `[B, 1, 1, 1]`."""
    norms: Tensor = torch.linalg.vector_norm(vector, dim=(1, 2, 3), keepdim=True)
    return norms


def unit(vector: Tensor) -> Tensor:
    """Scale each image to unit L2 norm; zero stays zero."""
    norms = length(vector)
    return torch.where(norms > 0, vector / norms, 0.0)


def project(adversarial: Tensor, image: Tensor, eps: float, norm: str) -> Tensor:
    """Return the point of the `eps` ball around the image, within [0, 1], that stands for `adversarial`.

    Args:
        adversarial: `[B, 3, H, W]`.
        image: The centre of the ball, in [0, 1].
        eps: Radius.
        norm: `linf` (clipped) or `l2` (scaled).
    """
    offset = within(adversarial.clamp(0, 1) - image, eps, norm)
    return (image + offset).clamp(0, 1)


def within(offset: Tensor, eps: float, norm: str) -> Tensor:
    """Return perturbations, `[B, 3, H, W]`, clipped (`linf`) or scaled (`l2`) to at most `eps`."""
    if norm == "linf":
        return offset.clamp(-eps, eps)
    return offset * (eps / length(offset).clamp(min=eps or 1.0))
