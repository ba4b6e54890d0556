"""What measures of an image come to at the worst, where only part of the answer is certain."""

import numpy as np
from numpy.typing import ArrayLike

from dds.certificates.bounds import Floats


def least_accuracy(decision: ArrayLike, kept: ArrayLike, mask: ArrayLike, ignored: int) -> float:
    """Return the share of labelled pixels that are right and certified; one that abstains is wrong.

    Args:
        decision: `[H, W]` class of each pixel.
        kept: `[H, W]` whether it is certified.
        mask: `[H, W]` the true class, or `ignored`.
        ignored: The label of pixels that count in nothing.
    """
    decision, kept, mask = np.asarray(decision), np.asarray(kept, bool), np.asarray(mask)
    labelled = mask != ignored
    return float((kept & labelled & (decision == mask)).sum() / max(int(labelled.sum()), 1))


def least_iou(intersection: ArrayLike, predicted: ArrayLike, labelled: ArrayLike, free: int) -> float:
    """Bound the mean IoU from below, whatever classes the pixels get that abstain.

    Beside being wrong they may be taken for a class and widen its union, or for a class that is not there and
    be one more to average over. Each class that occurs is given what lessens the sum most; that is convex, so
    the least is found by giving pixel after pixel, or parts of one, where the loss is largest: where
    `I / (U + a)^2` is equal for all.

    Args:
        intersection: `[C]` certified pixels of each class that are right.
        predicted: `[C]` certified pixels taken for it.
        labelled: `[C]` pixels of it, abstaining or not, that are not ignored.
        free: How many labelled pixels abstain.
    """
    hit = np.asarray(intersection, float)
    union = np.asarray(predicted, float) + np.asarray(labelled, float) - hit
    there = union > 0
    absent = int((~there).sum())
    hit, union = hit[there], union[there]
    shares = hit / (union + _spread(hit, union, float(free)))
    return float(shares.sum() / max(len(hit) + min(absent, free), 1))


def _spread(hit: Floats, union: Floats, free: float) -> Floats:
    """Share out `free` pixels so that `sum hit / (union + share)` is least, or a little more of them."""
    if not hit.any():
        return np.zeros_like(union)
    low, high = 0.0, float(np.sqrt(hit.max())) + free + float(union.max())
    for _ in range(100):  # of 1 / sqrt(loss of the last pixel), which rises with what is given
        middle = (low + high) / 2
        enough = np.maximum(np.sqrt(hit) * middle - union, 0).sum() >= free
        low, high = (low, middle) if enough else (middle, high)
    return np.maximum(np.sqrt(hit) * high - union, 0)


def worst_depth(low: ArrayLike, high: ArrayLike, depth: ArrayLike) -> dict[str, float]:
    """Return the worst RMSE, AbsRel and delta1 of a depth map between bounds.

    Args:
        low: `[P]` least metres of each valid pixel.
        high: `[P]` most.
        depth: `[P]` true metres, positive.

    Returns:
        `rmse` and `absrel`, at most; `delta1`, at least.
    """
    low, high, depth = (np.asarray(one, float) for one in (low, high, depth))
    error = np.maximum(np.abs(low - depth), np.abs(high - depth))
    within = (low * 1.25 > depth) & (high < 1.25 * depth)
    return {
        "rmse": float(np.sqrt((error**2).mean())),
        "absrel": float((error / depth).mean()),
        "delta1": float(within.mean()),
    }


def least_box_iou(low: ArrayLike, high: ArrayLike, truth: ArrayLike) -> Floats:
    """Bound the IoU with true boxes from below, for boxes whose edges lie between bounds.

    The smallest box leaves the least intersection, the largest the most union.

    Args:
        low: `[..., 4]` least x1, y1, x2, y2.
        high: `[..., 4]` most.
        truth: `[..., 4]` the true ones.
    """
    low, high, truth = (np.asarray(one, float) for one in (low, high, truth))
    start = np.maximum(high[..., :2], truth[..., :2])
    common = np.clip(np.minimum(low[..., 2:], truth[..., 2:]) - start, 0, None).prod(-1)
    largest = np.clip(high[..., 2:] - low[..., :2], 0, None).prod(-1)
    true_area = (truth[..., 2:] - truth[..., :2]).prod(-1)
    return np.asarray(common / (largest + true_area - common))
