from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from dds.errors import InputError
from dds.noise import Streams
from dds.numbers import whole


class Control(nn.Module, ABC):
    """A conventional transformation in the place of an attack: what images suffer without an attacker.

    Args:
        severity: From 1 to 5.
        strengths: What a subclass does at each severity, in units of its own.
    """

    moves_pixels: ClassVar[bool] = False
    """Whether things are elsewhere afterwards, so that masks, depth maps and boxes no longer fit."""

    def __init__(self, severity: int, strengths: Sequence[float]) -> None:
        super().__init__()
        severity = whole("severity", severity, least=None)
        if not 1 <= severity <= len(strengths):
            raise InputError(f"severity={severity}; expected 1 (mild) to {len(strengths)} (severe).")
        self.strength = strengths[severity - 1]

    @abstractmethod
    def forward(self, image: Tensor, streams: Streams) -> Tensor:
        """Transform images, each independently of the others.

        Args:
            image: `[B, 3, H, W]` in [0, 1].
            streams: Where each image's random numbers come from.

        Returns:
            `[B, 3, H, W]` in [0, 1].
        """

    def extra_repr(self) -> str:
        """Name the strength in `print(control)`."""
        return f"strength={self.strength}"
