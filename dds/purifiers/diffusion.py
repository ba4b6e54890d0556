from typing import Any

import torch
from torch import Tensor, nn

from dds.models.as_found import at_rest
from dds.models.diffusion.denoiser import diffuse, predict
from dds.models.diffusion.schedule import NoiseLevel
from dds.models.padding import pad_to_multiple
from dds.models.size_multiple import size_multiple
from dds.models.zoo import resolve_diffusion
from dds.purifiers.one_shot import OneShot


class DiffusionDenoiser(OneShot):
    """One-shot Diffusion Denoised Smoothing (Carlini et al., ICLR 2023): noise to level t, one network call.

    With x in [-1, 1]: `x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps` and the answer is
    `(x_t - sqrt(1 - abar_t) eps_theta(x_t, t)) / sqrt(abar_t)`, or the like for networks that predict the
    image or the velocity. Gradients are exact. Images whose sides the network cannot halve often enough are
    padded by mirroring and cropped again.

    Args:
        model: The diffusion network, `network(x_t, t)` in [-1, 1]: a diffusers `UNet2DModel` or any other;
            `zoo:<name>`; a file written by `train.py`; a folder with a diffusers pipeline or `UNet2DModel`;
            or a name on the hub, such as `google/ddpm-cifar10-32`. With learned variance the first half of
            its output channels counts.
        scheduler: Arguments of the diffusers `DDPMScheduler` it was trained with; default: what the folder
            says, else linear, 1000 steps, predicting noise.
        clamp: Clamp the purified image to [0, 1].
    """

    def __init__(
        self, model: str | nn.Module, scheduler: dict[str, Any] | None = None, clamp: bool = True
    ) -> None:
        super().__init__()
        network, self.schedule = resolve_diffusion(model, scheduler)
        self.model = at_rest(network)
        self.clamp = clamp
        self.size_multiple = size_multiple(self.model)

    def certified_sigma(self, level: NoiseLevel | None) -> float:
        """Return the level's sigma: the network sees the image plus that noise, and nothing else of it."""
        assert level is not None
        return level.sigma

    def denoise(self, image: Tensor, level: NoiseLevel, noise: Tensor) -> Tensor:
        """Purify with noise that the caller gives; see `OneShot`."""
        height, width = image.shape[-2:]
        alpha_cumprod = self.schedule.alpha_cumprod(level.t, image)
        noisy = diffuse(image * 2 - 1, noise, alpha_cumprod)
        t = torch.full((len(image),), level.t, device=image.device)
        padded = pad_to_multiple(noisy, self.size_multiple)
        predicted = predict(self.model, padded, t, alpha_cumprod, self.schedule.prediction_type).image
        purified = (predicted[..., :height, :width] + 1) / 2
        return purified.clamp(0, 1) if self.clamp else purified
