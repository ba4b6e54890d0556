"""Errors of depth, of each image by itself (Eigen et al., NeurIPS 2014, section 4.2)."""

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
