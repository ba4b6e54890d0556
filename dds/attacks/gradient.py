"""What attacks that climb a gradient share."""

import torch
from torch import Tensor

from dds.attacks.broken_gradients import finite, note_zero
from dds.attacks.objectives.base import Value
from dds.noise import Streams


def expected_gradient(image: Tensor, value: Value, streams: Streams, draws: int) -> Tensor:
    """Return the gradient of an objective, summed over noise draws (Athalye et al., ICML 2018).

    Args:
        image: `[B, 3, H, W]`, where the gradient is taken.
        value: One value an image.
        streams: Each draw gets a child of its own.
        draws: Number of draws.

    Returns:
        `[B, 3, H, W]`, 0 where it is not finite; an image's does not depend on the rest of the batch.
    """
    leaf = image.detach().requires_grad_()
    gradient = torch.zeros_like(leaf)
    for draw in range(draws):
        one = torch.autograd.grad(value(leaf, streams.child("eot", draw)).sum(), leaf)[0]
        gradient += finite(one, streams)
    note_zero(streams, gradient)
    return gradient


def expected_value(image: Tensor, value: Value, streams: Streams, draws: int) -> Tensor:
    """Return an objective averaged over noise draws, `[B]`; see `expected_gradient`."""
    with torch.no_grad():
        return torch.stack([value(image, streams.child("eot", draw)) for draw in range(draws)]).mean(0)


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
    offset = adversarial.clamp(0, 1) - image
    if norm == "linf":
        offset = offset.clamp(-eps, eps)
    else:
        offset = offset * (eps / length(offset).clamp(min=eps or 1.0))
    return (image + offset).clamp(0, 1)
