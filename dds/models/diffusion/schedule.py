from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor

from dds.errors import InputError
from dds.models.diffusion.denoiser import PredictionType
from dds.numbers import real

if TYPE_CHECKING:
    from diffusers import DDPMScheduler


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
    """The forward process of a diffusion model: how much noise belongs to each t, and how its network speaks.

    Attributes:
        alphas_cumprod: `[T]` float64, the share of the signal's variance that is left at each t.
        prediction_type: What a network trained with it predicts.
    """

    alphas_cumprod: Tensor
    prediction_type: PredictionType = "epsilon"

    @classmethod
    def from_config(cls, config: dict[str, Any] | None = None) -> "NoiseSchedule":
        """Build the schedule of a diffusers scheduler.

        Args:
            config: Arguments of a `DDPMScheduler`, default linear, 1000 steps from 1e-4 to 0.02 (Ho et al.
                2020); or what any diffusers scheduler with betas has saved as its `scheduler_config.json`.

        Raises:
            InputError: If these are not arguments, or the scheduler knows no betas.
        """
        scheduler = _scheduler(config or {})
        return cls(torch.cumprod(1 - scheduler.betas.double(), dim=0), scheduler.config.prediction_type)

    @cached_property
    def sigmas(self) -> Tensor:
        """`[T]` float64 sigma of each t for images in [0, 1], half of that for images in [-1, 1].

        The last is infinite in schedules with `rescale_betas_zero_snr` (Lin et al. 2023).
        """
        return ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt() / 2

    def alpha_cumprod(self, t: int, like: Tensor) -> Tensor:
        """Return abar_t, a scalar of the type and on the device of `like`, which is not waited for."""
        return like.new_full((), self.alphas_cumprod[t].item())

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
            return self.nearest(real("noise level sigma", given["sigma"]))
        return self.at(given)


def _scheduler(config: dict[str, Any]) -> "DDPMScheduler":
    from diffusers import DDPMScheduler  # takes seconds to import

    _check_config(config, set(DDPMScheduler().config))
    try:
        scheduler = DDPMScheduler.from_config(config)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise InputError(f"scheduler {config}: {error}. Expected arguments of DDPMScheduler.") from error
    if scheduler.config.prediction_type not in get_args(PredictionType):
        raise InputError(
            f"the scheduler's prediction_type is {scheduler.config.prediction_type!r}; expected one of "
            f"{', '.join(get_args(PredictionType))}. Use a network that was trained for one of them."
        )
    return scheduler


def _check_config(config: dict[str, Any], known: set[str]) -> None:
    """Refuse what diffusers would pass over in silence: misspelt names, schedulers of other processes."""
    saved_by = config.get("_class_name")
    if saved_by and "beta_schedule" not in config:
        raise InputError(
            f"a {saved_by} knows no betas; expected a scheduler such as DDPM, DDIM, PNDM, DPM-Solver, Euler. "
            "Use another network, or give scheduler if you know the betas that it was trained with."
        )
    strange = set() if saved_by else set(config) - known
    if strange:
        raise InputError(
            f"scheduler has no argument {', '.join(sorted(strange))}; expected those of diffusers' "
            "DDPMScheduler: beta_schedule, beta_start, beta_end, num_train_timesteps, prediction_type, ..."
        )
