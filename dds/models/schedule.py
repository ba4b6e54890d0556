from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from dds.errors import InputError


@dataclass(frozen=True)
class NoiseLevel:
    """One noise level, both ways of naming it.

    Attributes:
        t: 0-based index into the diffusion schedule.
        sigma: Standard deviation of the noise relative to the image, in [0, 1] pixel units.
    """

    t: int
    sigma: float

    def __str__(self) -> str:
        return f"t{self.t}"


@dataclass(frozen=True)
class NoiseSchedule:
    """The forward process of a diffusion model: how much noise belongs to each t.

    Attributes:
        alphas_cumprod: `[T]` float64, the share of the signal's variance that is left at each t.
    """

    alphas_cumprod: Tensor

    @classmethod
    def from_config(cls, config: dict[str, Any] | None = None) -> "NoiseSchedule":
        """Build the schedule of a diffusers `DDPMScheduler`.

        Args:
            config: The scheduler's arguments; default linear, 1000 steps from 1e-4 to 0.02 (Ho et al. 2020).
        """
        betas = DDPMScheduler(**(config or {})).betas.double()
        return cls(torch.cumprod(1 - betas, dim=0))

    @cached_property
    def sigmas(self) -> Tensor:
        """`[T]` float64 sigma of each t for images in [0, 1] (half of that for images in [-1, 1])."""
        return ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt() / 2

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def at(self, t: int) -> NoiseLevel:
        """Return the noise level at t.

        Raises:
            InputError: If t is outside the schedule.
        """
        if not 0 <= t < len(self):
            raise InputError(
                f"noise level t={t} is outside the diffusion schedule; expected 0 <= t <= {len(self) - 1}. "
                "Name another t, or give a standard deviation as {sigma: 0.25}."
            )
        return NoiseLevel(t, self.sigmas[t].item())

    def nearest(self, sigma: float) -> NoiseLevel:
        """Return the smallest t >= 1 whose noise is at least sigma (Carlini et al., ICLR 2023).

        Args:
            sigma: Standard deviation in [0, 1] pixel units.

        Raises:
            InputError: If the schedule never gets so noisy, or sigma is not positive.
        """
        if not 0 < sigma <= self.sigmas[-1].item():
            raise InputError(
                f"noise level sigma={sigma} cannot be reached; expected 0 < sigma <= {self.sigmas[-1]:.4g} "
                "in units of an image in [0, 1]."
            )
        enough = self.sigmas[1:] >= sigma * (1 - 1e-9)  # a sigma printed from this table finds its own t
        return self.at(1 + int(enough.int().argmax()))

    def level(self, given: int | dict[str, float]) -> NoiseLevel:
        """Read a noise level as users write it: a t, or `{sigma: 0.25}`."""
        if isinstance(given, dict):
            if set(given) != {"sigma"}:
                raise InputError(f"noise level {given}: expected a whole number t or {{sigma: value}}.")
            return self.nearest(float(given["sigma"]))
        return self.at(given)
