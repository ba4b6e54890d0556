"""The maths of one diffusion step, shared by training and purification."""

from typing import Literal, NamedTuple, cast

from torch import Tensor, nn

PredictionType = Literal["epsilon", "v_prediction", "sample"]
"""What a network was trained to predict, in diffusers' words: the noise, the velocity, the image."""


class Prediction(NamedTuple):
    """What a diffusion network makes of a noisy image, each `[B, C, H, W]`.

    Attributes:
        image: The image in it, in [-1, 1] up to the network's error; not clamped.
        noise: The noise in it.
        variance: Where a network has learned the variance of a step back: from -1, the least possible, to 1,
            the greatest (Nichol & Dhariwal 2021, eq. 15).
    """

    image: Tensor
    noise: Tensor
    variance: Tensor | None = None


def diffuse(image: Tensor, noise: Tensor, alpha_cumprod: Tensor) -> Tensor:
    """Noise an image: `x_t = sqrt(abar) x + sqrt(1 - abar) eps` (Ho et al. 2020, eq. 4).

    Args:
        image: `[B, C, H, W]` in [-1, 1].
        noise: Standard normal, the image's shape.
        alpha_cumprod: abar_t, a scalar or `[B, 1, 1, 1]`.
    """
    return alpha_cumprod.sqrt() * image + (1 - alpha_cumprod).sqrt() * noise


def predict(
    network: nn.Module,
    noisy: Tensor,
    t: Tensor,
    alpha_cumprod: Tensor,
    prediction_type: PredictionType = "epsilon",
) -> Prediction:
    """Ask a diffusion network for the image and the noise in `noisy`; together they solve `diffuse`.

    Each is computed from what the network says without a detour by the other, so that the image of a velocity
    stays exact where nothing of the signal is left (abar = 0).

    Args:
        network: `network(noisy, t)` returns a tensor or an output with `.sample` (diffusers). A network with
            learned variance returns twice the channels; the first half is the prediction, the second the
            variance.
        noisy: `[B, C, H, W]`, x_t.
        t: `[B]` int64.
        alpha_cumprod: abar_t, a scalar or `[B, 1, 1, 1]`.
        prediction_type: What the network predicts: eps (Ho et al. 2020, eq. 15), the velocity
            `sqrt(abar) eps - sqrt(1 - abar) x` (Salimans & Ho 2022, appendix D), or x itself.
    """
    output = network(noisy.clone(), t)  # which may work in place
    channels = noisy.shape[1]
    said, rest = cast(Tensor, getattr(output, "sample", output)).tensor_split([channels], dim=1)
    variance = rest if rest.shape[1] == channels else None
    signal, spread = alpha_cumprod.sqrt(), (1 - alpha_cumprod).sqrt()
    if prediction_type == "epsilon":
        return Prediction((noisy - spread * said) / signal, said, variance)
    if prediction_type == "v_prediction":
        return Prediction(signal * noisy - spread * said, signal * said + spread * noisy, variance)
    return Prediction(said, (noisy - signal * said) / spread, variance)
