from typing import Any

import torch
from torch import Tensor, nn

from dds.models.denoiser import diffuse, predict_image, predict_noise
from dds.models.padding import pad_to_multiple
from dds.models.schedule import NoiseLevel, NoiseSchedule
from dds.models.zoo import resolve
from dds.noise import Streams
from dds.purifiers.base import Purifier


class DiffusionDenoiser(Purifier):
    """One-shot Diffusion Denoised Smoothing (Carlini et al., ICLR 2023): noise to level t, one network call.

    With x in [-1, 1]: `x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps` and the answer is
    `(x_t - sqrt(1 - abar_t) eps_theta(x_t, t)) / sqrt(abar_t)`. Gradients are exact. Images whose sides the
    network cannot halve often enough are padded by mirroring and cropped again.

    Args:
        model: The diffusion network, `network(x_t, t)` in [-1, 1]: a diffusers `UNet2DModel` or any other;
            `zoo:<name>`; or a file written by `train.py`. With learned variance the first half of its
            output channels is the noise.
        scheduler: Arguments of the diffusers `DDPMScheduler` it was trained with; default linear, 1000 steps.
        clamp: Clamp the purified image to [0, 1].
    """

    network_calls = 1

    def __init__(
        self, model: nn.Module | str, scheduler: dict[str, Any] | None = None, clamp: bool = True
    ) -> None:
        super().__init__()
        self.model = resolve(model).eval().requires_grad_(False)
        self.schedule = NoiseSchedule.from_config(scheduler)
        self.clamp = clamp
        halvings = len(getattr(getattr(self.model, "config", None), "block_out_channels", [0])) - 1
        self.size_multiple = 2**halvings

    def level(self, given: int | dict[str, float]) -> NoiseLevel:
        """Read a noise level, `t` or `{sigma: s}`, in this model's schedule."""
        return self.schedule.level(given)

    def forward(self, image: Tensor, level: NoiseLevel, streams: Streams) -> Tensor:
        """Purify `[B, 3, H, W]` images in [0, 1] with noise drawn from their streams."""
        return self.denoise(image, level, streams.normal(image))

    def denoise(self, image: Tensor, level: NoiseLevel, noise: Tensor) -> Tensor:
        """Purify with noise that the caller gives.

        Args:
            image: `[B, 3, H, W]` in [0, 1].
            level: How much of the noise is added.
            noise: Standard normal, the image's shape.

        Returns:
            `[B, 3, H, W]`; in [0, 1] if `clamp`.
        """
        height, width = image.shape[-2:]
        alpha_cumprod = self.schedule.alphas_cumprod[level.t].to(image)
        noisy = diffuse(image * 2 - 1, noise, alpha_cumprod)
        t = torch.full((len(image),), level.t, device=image.device)
        predicted = predict_noise(self.model, pad_to_multiple(noisy, self.size_multiple), t)
        purified = (predict_image(noisy, predicted[..., :height, :width], alpha_cumprod) + 1) / 2
        return purified.clamp(0, 1) if self.clamp else purified
