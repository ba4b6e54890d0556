"""Whether a purifier sees an image through its noise alone, by trying."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dds.errors import InputError
from dds.models.diffusion.schedule import NoiseLevel
from dds.noise import Streams
from dds.purifiers.base import Purifier

_MOVE = 0.05  # of the image, in units of sigma
_SAME = 0.02  # of what the same move changes without the noise that makes up for it


@dataclass(frozen=True)
class _Shifted(Streams):
    """Streams whose normal numbers of the images' shape are shifted, the first time they are asked for."""

    shift: Tensor = field(default_factory=lambda: torch.zeros(()))
    asked: list[Any] = field(default_factory=list)

    def normal(self, like: Tensor) -> Tensor:
        drawn = super().normal(like)
        if self.asked or like.shape != self.shift.shape:
            return drawn
        self.asked.append(self.path)
        return drawn + self.shift.to(drawn)


@torch.no_grad()
def check_smoothing(purifier: Purifier, image: Tensor, level: NoiseLevel | None, streams: Streams) -> float:
    """Return the sigma of a purifier's certificates, having tried that it is what it says.

    If the image is moved by d and its noise by `-d / sigma`, the sum is the same, and so must be all that
    sees nothing but the sum. Guidance by the clean image, a level chosen from it, noise of another sigma, or
    from elsewhere than the streams, are found out so.

    Args:
        purifier: The purifier.
        image: `[B, 3, H, W]` in [0, 1].
        level: The noise level.
        streams: Of the images.

    Raises:
        InputError: If it has no certificates, or does not see the image through that noise alone.
    """
    sigma = purifier.certified_sigma(level)
    move = _MOVE * sigma * streams.child("move").normal(image).sign()
    kept = _Shifted(streams.seed, streams.index, streams.path, -move / sigma)
    before, moved, made_up = (
        purifier(one.clone(), level, noise)
        for one, noise in ((image, streams), (image + move, streams), (image + move, kept))
    )
    if not _norm(made_up - before) <= _SAME * _norm(moved - before) + 1e-6 * _norm(before):
        raise InputError(
            f"{type(purifier).__name__} at sigma={sigma:.4g} does not see the image through that noise "
            "alone, so no radius holds behind it. Expected all that it does to follow the noise, which it "
            "takes from its streams; or have its certified_sigma refuse."
        )
    return sigma


def _norm(difference: Tensor) -> float:
    return float(difference.double().norm())
