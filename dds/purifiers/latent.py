from typing import cast

import torch
from torch import Tensor

from dds.models.diffusion.denoiser import diffuse, predict
from dds.models.diffusion.schedule import NoiseLevel, NoiseSchedule
from dds.models.padding import pad_to_multiple
from dds.models.size_multiple import size_multiple
from dds.noise import Streams
from dds.purifiers.base import Purifier, no_certificate


class LatentDenoiser(Purifier):
    """One-shot denoising in the latent space of a diffusion model (Rombach et al., CVPR 2022).

    The image is encoded to the mean of the autoencoder's posterior, scaled to about unit variance, noised to
    level t, denoised with one call of the network, and decoded. Gradients are exact, through all of it.
    Images whose sides the networks cannot halve often enough are padded by mirroring and cropped again.

    A level is a t of the model's own schedule. Its sigma is half the noise's standard deviation relative to
    the scaled latent, so that the same t of the same schedule has the same name here as for
    `DiffusionDenoiser`. It is no noise in pixels, so there are no certificates.

    `calls` counts the denoising network; one encoder and one decoder come on top, and the autoencoder
    alone changes the image, at every level.

    Args:
        model: A folder with `vae/` (`AutoencoderKL`), `unet/` (`UNet2DModel`, or `UNet2DConditionModel`,
            which is told the empty prompt) and `scheduler/` as diffusers writes them; or the name of such a
            model on the hub, such as `stable-diffusion-v1-5/stable-diffusion-v1-5`. A folder with
            `text_encoder/` needs the package `transformers`.
        clamp: Clamp the purified image to [0, 1].
    """

    def __init__(self, model: str, clamp: bool = True) -> None:
        from dds.models.diffusion.latent_pipeline import read_latent_pipeline  # takes seconds to import

        super().__init__()
        pipeline = read_latent_pipeline(model)
        self.schedule = NoiseSchedule.from_config(pipeline.scheduler)
        self.model = pipeline.network.eval().requires_grad_(False)
        self.autoencoder = pipeline.autoencoder.eval().requires_grad_(False)
        self.clamp = clamp
        self.size_multiple = size_multiple(self.autoencoder) * size_multiple(self.model)

    def level(self, given: int | dict[str, float]) -> NoiseLevel:
        """Read a noise level, `t` or `{sigma: s}` with s as above, in this model's schedule."""
        return self.schedule.level(given)

    def certified_sigma(self, level: NoiseLevel | None) -> float:
        """Refuse certificates: the encoder sees the image without noise."""
        raise no_certificate(self, "its noise is added to the latent, not to the pixels")

    def forward(self, image: Tensor, level: NoiseLevel, streams: Streams) -> Tensor:
        """Purify `[B, 3, H, W]` images in [0, 1]; the streams give noise of the latent's shape."""
        height, width = image.shape[-2:]
        latent = self.encode(pad_to_multiple(image, self.size_multiple))
        purified = self.decode(self.denoise(latent, level, streams.normal(latent)))[..., :height, :width]
        return purified.clamp(0, 1) if self.clamp else purified

    def encode(self, image: Tensor) -> Tensor:
        """Return the scaled latents `[B, C, h, w]` of images `[B, 3, H, W]` in [0, 1]."""
        mean = self.autoencoder.encode(image * 2 - 1).latent_dist.mean
        return cast(Tensor, mean * self.autoencoder.config.scaling_factor)

    def decode(self, latent: Tensor) -> Tensor:
        """Return the images `[B, 3, H, W]` of scaled latents, in [0, 1] up to the decoder's error."""
        image = self.autoencoder.decode(latent / self.autoencoder.config.scaling_factor).sample
        return cast(Tensor, (image + 1) / 2)

    def denoise(self, latent: Tensor, level: NoiseLevel, noise: Tensor) -> Tensor:
        """Add noise that the caller gives to scaled latents, and remove it; all `[B, C, h, w]`."""
        alpha_cumprod = self.schedule.alpha_cumprod(level.t, latent)
        t = torch.full((len(latent),), level.t, device=latent.device)
        noisy = diffuse(latent, noise, alpha_cumprod)
        return predict(self.model, noisy, t, alpha_cumprod, self.schedule.prediction_type).image
