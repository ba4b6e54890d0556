"""Whether a gradient is the derivative of what is computed."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dds.errors import InputError
from dds.noise import Streams

Function = Callable[[Tensor], Tensor]
"""From images `[1, 3, H, W]` to one value an image, the same for the same image."""

_STEPS = (4e-4, 1e-4, 2.5e-5)
"""Half lengths of a difference, in [0, 1] pixel units: below any attack's step, above rounding."""

_TOLERANCE = 0.05
"""Relative; networks are piecewise linear, and float32 rounds. A denoiser left out makes .6 to .9."""

_STILL = 0.25
"""How far slopes of two lengths may lie apart, in parts of their gap to the gradient: at kinks, such as those
of a median, the gap narrows with each length; a fault leaves it as it is."""

_ROUNDING = 1e-6
"""Of a value in float32, relative: a change of less says nothing."""


def is_derivative(function: Function, image: Tensor, streams: Streams, random: int = 0) -> bool:
    """Compare a gradient with central differences, along its own sign and along random signs.

    Args:
        function: What the gradient is of.
        image: `[1, 3, H, W]` in [0, 1].
        streams: Where directions come from, and a small step away from the image: at the image itself, which
            attacks leave at once, a gradient may be zero.
        random: Number of random directions.

    Returns:
        False where differences of two lengths agree with each other, and far better than with the gradient.

    Raises:
        InputError: If there is no gradient at all.
    """
    place = (image + 8 / 255 * (streams.child("place").uniform(image) - 0.5)).clamp(0, 1)
    gradient = _gradient(function, place)
    if not gradient.isfinite().all():
        return True  # attacks mark such images themselves
    drawn = [streams.child("direction", number).uniform(image) - 0.5 for number in range(random)]
    groups = [[gradient.sign()], [direction.sign() for direction in drawn]]
    return all(_agrees(function, place, gradient, directions) for directions in groups if directions)


def _gradient(function: Function, place: Tensor) -> Tensor:
    leaf = place.clone().requires_grad_()
    try:
        with torch.enable_grad():
            found = torch.autograd.grad(function(leaf).sum(), leaf, allow_unused=True)[0]
    except InputError:
        raise
    except RuntimeError as error:
        raise InputError(_none(str(error).splitlines()[0])) from error
    if found is None:
        raise InputError(_none("what it returns does not hang on the image"))
    return found


def _none(reason: str) -> str:
    return (
        f"has no gradient ({reason}), which attacks need. Is there a torch.no_grad, inference_mode or "
        "detach in its forward? Take it out, or choose attacks without gradients, such as ArtAttack with "
        "art.attacks.evasion.SquareAttack."
    )


def _agrees(function: Function, place: Tensor, gradient: Tensor, directions: list[Tensor]) -> bool:
    said = torch.stack([(gradient * direction).sum().double() for direction in directions])  # (D,)
    usual, before, sure = gradient.norm().double(), said, False
    for slopes, doubt in _slopes(function, place, directions):
        if not slopes.isfinite().all() or (gap := _gap(said, slopes, usual)) <= _TOLERANCE:
            return True
        if doubt.norm() > _TOLERANCE * slopes.norm():
            break
        sure, before = _gap(before, slopes, usual) <= min(_TOLERANCE, _STILL * gap), slopes
    return not sure  # else there is no derivative to speak of


def _slopes(function: Function, place: Tensor, directions: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield slopes by central differences of each length, `[D]`, and what rounding may have added to them."""
    for step in _STEPS:
        with torch.no_grad():
            ahead, behind = (
                torch.stack([function(place + way * step * direction).sum() for direction in directions])
                for way in (1, -1)
            )
        doubt = _ROUNDING * torch.maximum(ahead.abs(), behind.abs()).double() / step
        yield (ahead.double() - behind.double()) / (2 * step), doubt


def _gap(one: Tensor, other: Tensor, usual: Tensor) -> float:
    """Compare slopes, `[D]`; along random signs they are as large as the gradient's norm, `usual`, is."""
    size = torch.stack([one.norm(), other.norm(), usual * len(one) ** 0.5]).max()
    return float((one - other).norm() / size) if size else 0.0
