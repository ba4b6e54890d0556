"""The maths of one diffusion step, shared by training and purification."""

from typing import cast

from torch import Tensor, nn


def diffuse(image: Tensor, noise: Tensor, alpha_cumprod: Tensor) -> Tensor:
    """Noise an image: `x_t = sqrt(abar) x + sqrt(1 - abar) eps` (Ho et al. 2020, eq. 4).

    Args:
        image: `[B, C, H, W]` in [-1, 1].
        noise: Standard normal, the image's shape.
        alpha_cumprod: abar_t, a scalar or `[B, 1, 1, 1]`.
    """
    return alpha_cumprod.sqrt() * image + (1 - alpha_cumprod).sqrt() * noise


def predict_noise(network: nn.Module, noisy: Tensor, t: Tensor) -> Tensor:
    """Ask a diffusion network for the noise in an image.

    Args:
        network: `network(noisy, t)` returns a tensor or an output with `.sample` (diffusers). A network with
            learned variance returns twice the channels; the first half is the noise.
        noisy: `[B, C, H, W]`, x_t.
        t: `[B]` int64.

    Returns:
        `[B, C, H, W]` predicted noise.
    """
    output = network(noisy, t)
    return cast(Tensor, getattr(output, "sample", output))[:, : noisy.shape[1]]


def predict_image(noisy: Tensor, noise: Tensor, alpha_cumprod: Tensor) -> Tensor:
    """Solve `diffuse` for the image (Ho et al. 2020, eq. 15); not clamped."""
    return (noisy - (1 - alpha_cumprod).sqrt() * noise) / alpha_cumprod.sqrt()
