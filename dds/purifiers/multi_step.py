import math
from typing import Any, Literal

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from dds.errors import InputError
from dds.models.denoiser import Prediction, diffuse, predict
from dds.models.padding import pad_to_multiple
from dds.models.schedule import NoiseLevel
from dds.models.size_multiple import size_multiple
from dds.models.zoo import at_rest, resolve_diffusion
from dds.noise import Streams
from dds.purifiers.base import Purifier

Sampler = Literal["ddpm", "ddim"]


class MultiStepDenoiser(Purifier):
    """Purification by a reverse process: noise to level t, then back in several steps.

    The image is noised as by `DiffusionDenoiser`, with the same numbers; one step is that purifier itself,
    and DDPM with all steps is DiffPure (Nie et al., ICML 2022) in discrete time. Each step calls the network
    once and draws its noise, if any, from a stream of its own. Gradients are exact, through all steps.

    Args:
        model: The diffusion network, in any of the ways that `DiffusionDenoiser` takes.
        scheduler: Arguments of the diffusers `DDPMScheduler` it was trained with; default: what the folder
            says, else linear, 1000 steps, predicting noise.
        sampler: `ddpm`, ancestral sampling (Ho et al. 2020) with the variance of the posterior (diffusers'
            `fixed_small`), also where the network has learned one; or `ddim` (Song et al. 2021).
        steps: Calls of the network, spread evenly over the t + 1 times of the level (Lin et al. 2024, table
            2, trailing); all times where they are fewer. None: always all.
        eta: Noise that DDIM adds, as a share of DDPM's standard deviation, in [0, 1].
        clamp: Clamp the image that each step predicts, and so the answer, to [0, 1].
        checkpoint: Keep only the image between two steps for the gradient and compute each step anew: memory
            for one network call instead of one a step, at one more forward call a step in the backward pass.
    """

    def __init__(
        self,
        model: str | nn.Module,
        scheduler: dict[str, Any] | None = None,
        sampler: Sampler = "ddpm",
        steps: int | None = None,
        eta: float = 0.0,
        clamp: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        _check_sampler(sampler, steps, eta)
        network, self.schedule = resolve_diffusion(model, scheduler)
        self.model = at_rest(network, model)
        self.sampler, self.steps, self.eta = sampler, steps, eta
        self.clamp, self.checkpoint = clamp, checkpoint
        self.size_multiple = size_multiple(self.model)

    def level(self, given: int | dict[str, float]) -> NoiseLevel:
        """Read a noise level, `t` or `{sigma: s}`, in this model's schedule."""
        return self.schedule.level(given)

    def calls(self, level: NoiseLevel) -> int:
        """Count the network calls of one purification at a level."""
        return len(self.times(level))

    def times(self, level: NoiseLevel) -> list[int]:
        """Return every t at which the network is called, falling from the level's own."""
        every = level.t + 1
        steps = min(self.steps or every, every)
        return [every * left // steps - 1 for left in range(steps, 0, -1)]

    def forward(self, image: Tensor, level: NoiseLevel, streams: Streams) -> Tensor:
        """Purify `[B, 3, H, W]` images in [0, 1] with noise drawn from their streams."""
        x = diffuse(image * 2 - 1, streams.normal(image), self.schedule.alphas_cumprod[level.t].to(image))
        times = self.times(level)
        for t, following in zip(times, [*times[1:], None], strict=True):
            x = self._step(x, t, following, streams.child("reverse", t))
        return (x + 1) / 2

    def _step(self, noisy: Tensor, t: int, following: int | None, streams: Streams) -> Tensor:
        if not self.checkpoint:
            return self._step_back(noisy, t, following, streams)
        # No state of random generators to restore: streams give the same numbers again.
        earlier: Tensor = torch.utils.checkpoint.checkpoint(
            self._step_back, noisy, t, following, streams, use_reentrant=False, preserve_rng_state=False
        )
        return earlier

    def _step_back(self, noisy: Tensor, t: int, following: int | None, streams: Streams) -> Tensor:
        """Lead `[B, 3, H, W]` from time t to the following one, or to the image where none follows."""
        predicted = self._predict(noisy, t)
        if following is None:
            return predicted.image
        abar, abar_next = self.schedule.alphas_cumprod[[t, following]].tolist()
        if self.sampler == "ddpm":
            mean, deviation = ddpm_step(noisy, predicted, abar, abar_next)
        else:
            mean, deviation = ddim_step(predicted, abar, abar_next, self.eta)
        return mean + deviation * streams.normal(mean) if deviation else mean

    def _predict(self, noisy: Tensor, t: int) -> Prediction:
        height, width = noisy.shape[-2:]
        padded = pad_to_multiple(noisy, self.size_multiple)
        times = torch.full((len(noisy),), t, device=noisy.device)
        abar = self.schedule.alphas_cumprod[t].to(noisy)
        padded_image, padded_noise = predict(self.model, padded, times, abar, self.schedule.prediction_type)
        image, noise = padded_image[..., :height, :width], padded_noise[..., :height, :width]
        return Prediction(image.clamp(-1, 1) if self.clamp else image, noise)

    def extra_repr(self) -> str:
        """Name the sampler and its steps in `print(purifier)`."""
        return f"sampler={self.sampler}, steps={self.steps or 'all'}, eta={self.eta}"


def ddpm_step(noisy: Tensor, predicted: Prediction, abar: float, abar_next: float) -> tuple[Tensor, float]:
    """Return the mean and standard deviation of DDPM's next image (Ho et al. 2020, eq. 7).

    Between times that are no neighbours, alpha is the ratio of their abar (Nichol & Dhariwal 2021, eq. 19).

    Args:
        noisy: `[B, C, H, W]` at the time of abar.
        predicted: What the network sees in it, the image clamped or not.
        abar: abar_t of now.
        abar_next: abar_t of the next, earlier time.
    """
    alpha = abar / abar_next
    of_image = math.sqrt(abar_next) * (1 - alpha) / (1 - abar)
    of_noisy = math.sqrt(alpha) * (1 - abar_next) / (1 - abar)
    return of_image * predicted.image + of_noisy * noisy, math.sqrt(_posterior_variance(abar, abar_next))


def ddim_step(predicted: Prediction, abar: float, abar_next: float, eta: float) -> tuple[Tensor, float]:
    """Return the mean and standard deviation of DDIM's next image (Song et al. 2021, eq. 12 and 16).

    Args:
        predicted: What the network sees, the image clamped or not; the noise is used as predicted.
        abar: abar_t of now.
        abar_next: abar_t of the next, earlier time.
        eta: 0 adds no noise, 1 as much as DDPM.
    """
    variance = eta**2 * _posterior_variance(abar, abar_next)
    direction = math.sqrt(1 - abar_next - variance) * predicted.noise
    return math.sqrt(abar_next) * predicted.image + direction, math.sqrt(variance)


def _posterior_variance(abar: float, abar_next: float) -> float:
    return (1 - abar_next) / (1 - abar) * (1 - abar / abar_next)


def _check_sampler(sampler: Sampler, steps: int | None, eta: float) -> None:
    if sampler not in ("ddpm", "ddim"):
        raise InputError(f"sampler={sampler!r}; expected ddpm or ddim.")
    if steps is not None and steps < 1:
        raise InputError(f"steps={steps}; expected at least 1, or null for every t of the noise level.")
    if not 0 <= eta <= 1:
        raise InputError(f"eta={eta}; expected 0 (deterministic) to 1 (as much noise as DDPM).")
    if sampler == "ddpm" and eta:
        raise InputError(f"eta={eta} with sampler ddpm, which has no eta. Remove eta, or use sampler ddim.")
