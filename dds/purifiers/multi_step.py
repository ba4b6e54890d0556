from typing import Any, Literal

import numpy as np
import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from dds.errors import InputError
from dds.models.as_found import at_rest
from dds.models.diffusion.denoiser import Prediction, diffuse, predict
from dds.models.diffusion.schedule import NoiseLevel
from dds.models.padding import pad_to_multiple
from dds.models.size_multiple import size_multiple
from dds.models.zoo import resolve_diffusion
from dds.noise import Streams
from dds.purifiers.base import Purifier
from dds.purifiers.reverse_step import ddim_step, ddpm_step, learned_deviation

Sampler = Literal["ddpm", "ddim"]
Variance = Literal["fixed_small", "learned"]


class MultiStepDenoiser(Purifier):
    """Purification by a reverse process: noise to level t, then back in several steps.

    The image is noised as by `DiffusionDenoiser`, with the same numbers; one step is that purifier itself,
    and DDPM with all steps and `variance: learned` is DiffPure (Nie et al., ICML 2022) in discrete time. Each
    step calls the network once and draws its noise, if any, from a stream of its own. Gradients are exact,
    through all steps.

    Args:
        model: The diffusion network, in any of the ways that `DiffusionDenoiser` takes.
        scheduler: Arguments of the diffusers `DDPMScheduler` it was trained with; default: what the folder
            says, else linear, 1000 steps, predicting noise.
        sampler: `ddpm`, ancestral sampling (Ho et al. 2020), or `ddim` (Song et al. 2021).
        steps: Calls of the network, spread evenly over the t + 1 times of the level (Lin et al. 2024, table
            2, trailing, rounded as there); all times where they are fewer. None: always all.
        variance: Of DDPM's steps: `fixed_small`, the posterior's, or what the network has `learned`, between
            that and beta (diffusers' `learned_range`); guided-diffusion's networks have, with `learn_sigma`.
        eta: Noise that DDIM adds, as a share of DDPM's standard deviation, in [0, 1].
        rederive_noise: Whether DDIM goes on with the noise that the clamped image leaves, as guided-diffusion
            does (diffusers' `use_clipped_model_output`), instead of the predicted one (diffusers' default).
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
        variance: Variance = "fixed_small",
        rederive_noise: bool = False,
    ) -> None:
        super().__init__()
        _check_sampler(sampler, steps, eta, variance, rederive_noise)
        network, self.schedule = resolve_diffusion(model, scheduler)
        self.model = at_rest(network)
        self.sampler, self.steps, self.eta = sampler, steps, eta
        self.variance, self.rederive_noise = variance, rederive_noise
        self.clamp, self.checkpoint = clamp, checkpoint
        self.size_multiple = size_multiple(self.model)

    def level(self, given: int | dict[str, float]) -> NoiseLevel:
        """Read a noise level, `t` or `{sigma: s}`, in this model's schedule."""
        return self.schedule.level(given)

    def certified_sigma(self, level: NoiseLevel | None) -> float:
        """Return the level's sigma: all steps see the image plus that noise, and nothing else of it."""
        assert level is not None
        return level.sigma

    def calls(self, level: NoiseLevel) -> int:
        """Count the network calls of one purification at a level."""
        return len(self.times(level))

    def calls_again(self, level: NoiseLevel) -> int:
        """Count those that a gradient makes once more: all, where steps are computed anew."""
        return self.calls(level) if self.checkpoint else 0

    def times(self, level: NoiseLevel) -> list[int]:
        """Return every t at which the network is called, falling from the level's own."""
        every = level.t + 1
        steps = min(self.steps or every, every)
        left = np.arange(every, 0, -every / steps)[:steps]  # by its rounding errors one more, of 0
        return [int(number) - 1 for number in np.round(left)]

    def forward(self, image: Tensor, level: NoiseLevel, streams: Streams) -> Tensor:
        """Purify `[B, 3, H, W]` images in [0, 1] with noise drawn from their streams."""
        x = diffuse(image * 2 - 1, streams.normal(image), self.schedule.alpha_cumprod(level.t, image))
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
        if self.sampler == "ddim":
            mean, deviation = ddim_step(predicted, abar, abar_next, self.eta)
            return mean + deviation * streams.normal(mean) if self.eta else mean
        mean, fixed = ddpm_step(noisy, predicted, abar, abar_next)
        learned = self.variance == "learned"
        spread = learned_deviation(predicted, abar, abar_next) if learned else fixed
        return mean + spread * streams.normal(mean)

    def _predict(self, noisy: Tensor, t: int) -> Prediction:
        height, width = noisy.shape[-2:]
        padded = pad_to_multiple(noisy, self.size_multiple)
        times = torch.full((len(noisy),), t, device=noisy.device)
        abar = self.schedule.alpha_cumprod(t, noisy)
        predicted = predict(self.model, padded, times, abar, self.schedule.prediction_type)
        image, noise = predicted.image[..., :height, :width], predicted.noise[..., :height, :width]
        variance = None if predicted.variance is None else predicted.variance[..., :height, :width]
        image = image.clamp(-1, 1) if self.clamp else image
        if self.rederive_noise:
            noise = (noisy - abar.sqrt() * image) / (1 - abar).sqrt()
        return Prediction(image, noise, variance)

    def extra_repr(self) -> str:
        """Name the sampler and its settings in `print(purifier)`."""
        own = f"variance={self.variance}" if self.sampler == "ddpm" else f"eta={self.eta}"
        return f"sampler={self.sampler}, steps={self.steps or 'all'}, {own}"


def _check_sampler(
    sampler: Sampler, steps: int | None, eta: float, variance: Variance, rederive_noise: bool
) -> None:
    if sampler not in ("ddpm", "ddim"):
        raise InputError(f"sampler={sampler!r}; expected ddpm or ddim.")
    if variance not in ("fixed_small", "learned"):
        raise InputError(f"variance={variance!r}; expected fixed_small or learned.")
    if steps is not None and steps < 1:
        raise InputError(f"steps={steps}; expected at least 1, or null for every t of the noise level.")
    if not 0 <= eta <= 1:
        raise InputError(f"eta={eta}; expected 0 (deterministic) to 1 (as much noise as DDPM).")
    if sampler == "ddpm" and (eta or rederive_noise):
        name = f"eta={eta}" if eta else "rederive_noise=True"
        raise InputError(f"{name} is of DDIM alone. Remove it from sampler ddpm, or use sampler ddim.")
    if sampler == "ddim" and variance == "learned":
        raise InputError("variance=learned is of DDPM alone; DDIM has eta. Remove it, or use sampler ddpm.")
