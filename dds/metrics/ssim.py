from functools import lru_cache

import torch
from torch import Tensor

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def ssim(shown: Tensor, original: Tensor) -> Tensor:
    """Compute the structural similarity of images in [0, 1] (Wang et al., TIP 2004, eq. 13).

    The Gaussian window (11x11, sigma 1.5, borders mirrored) is separable, so local means are two products
    with matrices of the image's sides: the numbers of a convolution in a fraction of its time.

    Args:
        shown: `[B, C, H, W]`.
        original: Likewise.

    Returns:
        `[B]`, the mean over pixels and channels.
    """
    rows, columns = (_window(side).to(shown) for side in shown.shape[-2:])

    def local_mean(image: Tensor) -> Tensor:
        return rows @ image @ columns.T  # (B, C, H, W)

    mean, other = local_mean(shown), local_mean(original)
    variance = (local_mean(shown.square()) - mean.square()).clamp(min=0)
    other_variance = (local_mean(original.square()) - other.square()).clamp(min=0)
    covariance = local_mean(shown * original) - mean * other
    luminance = (2 * mean * other + _C1) / (mean.square() + other.square() + _C1)
    structure = (2 * covariance + _C2) / (variance + other_variance + _C2)
    return (luminance * structure).mean((1, 2, 3))


@lru_cache
def _window(side: int) -> Tensor:
    """Return the matrix `[side, side]` that takes the windowed mean along a side, mirrored at its ends."""
    offset = torch.arange(_WINDOW) - _WINDOW // 2
    weight = torch.exp(-offset.double().square() / (2 * _SIGMA**2))
    place = (torch.arange(side)[:, None] + offset).abs()
    place = torch.where(place < side, place, 2 * (side - 1) - place)  # (side, window)
    matrix = torch.zeros(side, side, dtype=torch.double)
    matrix.scatter_add_(1, place, (weight / weight.sum()).expand_as(place))
    return matrix
