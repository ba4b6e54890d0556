import torch
from torch import Tensor

from dds.metrics.ssim import ssim

_MOST = 100.0  # dB: the PSNR of identical images, for it would be infinite


def fidelity(shown: Tensor, original: Tensor) -> dict[str, Tensor]:
    """Compare what a task was shown with the user's image.

    Args:
        shown: `[B, 3, H, W]` in [0, 1].
        original: The same shape and range.

    Returns:
        `psnr` in dB and `ssim` (Wang et al. 2004), each `[B]`.
    """
    same = (shown == original).flatten(1).all(1)  # decided for each image, whatever shares its batch
    psnr, similarity = shown.new_full((len(shown),), _MOST), shown.new_ones(len(shown))
    if not same.all():
        error = (shown - original).square().mean((1, 2, 3)).clamp(min=10 ** (-_MOST / 10))
        psnr = torch.where(same, psnr, -10 * torch.log10(error))
        similarity = torch.where(same, similarity, ssim(shown, original))
    return {"psnr": psnr, "ssim": similarity}


def perturbation(attacked: Tensor, original: Tensor) -> dict[str, Tensor]:
    """Measure how far an attack moved each image.

    Args:
        attacked: `[B, 3, H, W]` in [0, 1].
        original: The same shape and range.

    Returns:
        `linf` and `l2` norms in [0, 1] pixel units, each `[B]`.
    """
    offset = (attacked - original).flatten(1)
    return {"linf": offset.abs().amax(1), "l2": offset.norm(dim=1)}
