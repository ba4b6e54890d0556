import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

_FLOOR = 1e-10  # mean squared error of identical images, so that their PSNR is 100 dB and not infinite


def fidelity(shown: Tensor, original: Tensor) -> dict[str, Tensor]:
    """Compare what a task was shown with the user's image.

    Args:
        shown: `[B, 3, H, W]` in [0, 1].
        original: The same shape and range.

    Returns:
        `psnr` in dB and `ssim` (Wang et al. 2004), each `[B]`.
    """
    error = (shown - original).square().mean((1, 2, 3)).clamp(min=_FLOOR)
    similarity = ssim(shown, original, data_range=1.0, reduction="none")
    assert isinstance(similarity, Tensor)
    return {"psnr": -10 * torch.log10(error), "ssim": similarity.reshape(len(shown))}
