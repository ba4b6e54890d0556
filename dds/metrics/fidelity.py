from typing import cast

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from dds.errors import InputError

_AROUND = 5  # pixels, half of SSIM's window of 11
_MOST = 100.0  # dB: the PSNR of identical images, for it would be infinite


def fidelity(shown: Tensor, original: Tensor) -> dict[str, Tensor]:
    """Compare what a task was shown with the user's image.

    Args:
        shown: `[B, 3, H, W]` in [0, 1].
        original: The same shape and range.

    Returns:
        `psnr` in dB and `ssim` (Wang et al. 2004), each `[B]`.

    Raises:
        InputError: If images are too small for SSIM's window, which is mirrored at the edges.
    """
    psnr = peak_signal_noise_ratio(shown, original, data_range=1.0, reduction="none", dim=(1, 2, 3))
    same = (shown == original).flatten(1).all(1)  # decided for each image, whatever shares its batch
    ssim = shown.new_ones(len(shown))
    if not same.all():
        ssim = torch.where(same, ssim, _similarity(shown, original))
    return {"psnr": psnr.clamp(max=_MOST), "ssim": ssim}


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


def _similarity(shown: Tensor, original: Tensor) -> Tensor:
    height, width = shown.shape[2:]
    if min(height, width) <= _AROUND:
        raise InputError(
            f"images are {height}x{width}; expected more than {_AROUND} pixels a side, as SSIM looks so far "
            "around each pixel. Resize them in the data module."
        )
    return cast(
        Tensor, structural_similarity_index_measure(shown, original, data_range=1.0, reduction="none")
    )
