"""Errors of depth, of each image by itself (Eigen et al., NeurIPS 2014, section 4.2)."""

from typing import Literal

import torch
from torch import Tensor


def depth_errors(decision: Tensor, true: Tensor, known: Tensor) -> dict[str, Tensor]:
    """Compare metres with the true ones; 0 where none are known.

    Args:
        decision: `[B, H, W]`, positive.
        true: `[B, H, W]`, positive.
        known: `[B, H, W]` bool, which pixels count.

    Returns:
        `rmse` in metres, `absrel`, and `delta1`, the share of pixels within a factor of 1.25; `[B]` each.
    """
    error, ratio = (decision - true).abs(), torch.maximum(decision / true, true / decision)
    return {
        "rmse": mean_over_known(error.square(), known).sqrt(),
        "absrel": mean_over_known(error / true, known),
        "delta1": mean_over_known((ratio < 1.25).float(), known),
    }


def mean_over_known(values: Tensor, known: Tensor) -> Tensor:
    """Average over the pixels that count, `[B, H, W]` to `[B]`; 0 where there is none."""
    return (values * known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)


_MIDDLE = (0.45, 0.55)  # of the pixels, by their ranks

Align = Literal["none", "scale", "scale_shift"]


def aligned(output: Tensor, target: Tensor, known: Tensor, align: Align) -> Tensor:
    """Bring each image's output to its target, as relative depth is compared.

    `scale`: by the ratio of their medians (Zhou et al., CVPR 2017); `scale_shift`: by the scale and shift of
    the least squared difference (Ranftl et al., TPAMI 2022, section 5). An output that is the same everywhere
    becomes the target's mean.

    Args:
        output: `[B, H, W]`; what is not finite stays so, and is not looked at.
        target: `[B, H, W]`.
        known: `[B, H, W]` bool, which pixels are looked at.
        align: What is done.

    Returns:
        `[B, H, W]`; its gradient is that of the whole, so it leads nowhere by scale (and shift) alone.
    """
    if align == "none":
        return output
    seen = known & output.isfinite()
    own, true = output.where(seen, 0).double(), target.where(seen, 0).double()
    if align == "scale":
        ratio = _median(true, seen) / _median(own, seen)
        return (output * ratio.nan_to_num(0, 0, 0)).to(output)
    mean_own, mean_true = (mean_over_known(one, seen)[:, None, None] for one in (own, true))
    moved = own - mean_own
    spread = mean_over_known(moved.square(), seen)
    slope = mean_over_known(moved * (true - mean_true), seen) / spread.where(spread > 0, torch.inf)
    return ((output - mean_own) * slope[:, None, None] + mean_true).to(output)


def _median(values: Tensor, seen: Tensor) -> Tensor:
    """Return the median of the pixels that are seen, `[B, 1, 1]`; NaN where there is none.

    Its gradient is spread over the middle tenth of them: that of the one pixel in the middle says nothing of
    the median a step further, where another pixel is.
    """
    row = values.where(seen, torch.nan).flatten(1)
    low, high = row.detach().nanquantile(row.new_tensor(_MIDDLE), 1, keepdim=True)  # (B, 1) each
    middle = row.where((row >= low) & (row <= high), torch.nan).nanmean(1, keepdim=True)
    median = row.detach().nanmedian(1, keepdim=True).values
    return (median * (middle / middle.detach()))[:, :, None]
