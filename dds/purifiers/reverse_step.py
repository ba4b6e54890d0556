"""One step of a reverse diffusion process, between any two times."""

import math

import torch
from torch import Tensor

from dds.errors import InputError
from dds.models.diffusion.denoiser import Prediction


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


def learned_deviation(predicted: Prediction, abar: float, abar_next: float) -> Tensor:
    """Return the standard deviation that the network has learned for DDPM's next image, `[B, C, H, W]`.

    Its logarithm lies between those of the posterior's and of beta's (Nichol & Dhariwal 2021, eq. 15).

    Args:
        predicted: What the network sees.
        abar: abar_t of now.
        abar_next: abar_t of the next, earlier time.

    Raises:
        InputError: If the network has learned none.
    """
    if predicted.variance is None:
        channels = predicted.image.shape[1]
        raise InputError(
            f"variance=learned, but the diffusion network does not return {2 * channels} channels, half of "
            "them its variance. Set variance=fixed_small, or build the network with learned variance."
        )
    least, greatest = math.log(_posterior_variance(abar, abar_next)), math.log(1 - abar / abar_next)
    share = (predicted.variance + 1) / 2
    return torch.exp((share * greatest + (1 - share) * least) / 2)


def ddim_step(predicted: Prediction, abar: float, abar_next: float, eta: float) -> tuple[Tensor, float]:
    """Return the mean and standard deviation of DDIM's next image (Song et al. 2021, eq. 12 and 16).

    Args:
        predicted: What the network sees, the image clamped or not, the noise rederived from it or not.
        abar: abar_t of now.
        abar_next: abar_t of the next, earlier time.
        eta: 0 adds no noise, 1 as much as DDPM.
    """
    variance = eta**2 * _posterior_variance(abar, abar_next)
    direction = math.sqrt(1 - abar_next - variance) * predicted.noise
    return math.sqrt(abar_next) * predicted.image + direction, math.sqrt(variance)


def _posterior_variance(abar: float, abar_next: float) -> float:
    return (1 - abar_next) / (1 - abar) * (1 - abar / abar_next)
