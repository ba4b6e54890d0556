"""Average precision on resampled data sets: each image counts as often as it was drawn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

RECALLS = np.linspace(0, 1, 101)
"""Where COCO reads the precision off."""


def average_precision(scores: Array, positive: Array, weights: Array) -> Array:
    """Compute the area under the precision-recall curve, as scikit-learn and torchmetrics do.

    Args:
        scores: `[N]`; equal ones are one point of the curve.
        positive: `[N]` bool.
        weights: `[R, N]`, how often each item is in each data set.

    Returns:
        `[R]`; NaN where a data set has no positive item.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.diff(scores[order], append=-np.inf) != 0  # of equal scores
    found = np.cumsum(weights[:, order] * positive[order], axis=1)[:, last]  # (R, points)
    seen = np.cumsum(weights[:, order], axis=1)[:, last]
    precision = found / np.maximum(seen, 1)
    area = (np.diff(found, axis=1, prepend=0) * precision).sum(1)
    return area / _positive(weights @ positive)  # type: ignore[no-any-return]


def interpolated_average_precision(right: Array, ignored: Array, objects: Array, weights: Array) -> Array:
    """Compute COCO's average precision of one class at one IoU threshold.

    The precision at a recall is the highest at that recall or any above it, read at 101 recalls (Lin et al.,
    ECCV 2014; pycocotools `COCOeval.accumulate`). As wrong detections only lower it, the right
    ones are enough to know it.

    Args:
        right: `[N]` bool, detections that found an object, by falling score; equal scores stay in that order.
        ignored: `[N]` bool, detections that are neither right nor wrong.
        objects: `[R]` number of objects of the class.
        weights: `[R, N]`, how often each detection's image is in each data set.

    Returns:
        `[R]`; NaN where a data set has no such object.
    """
    seen = np.cumsum(weights * ~ignored, axis=1)[:, right]  # (R, right ones)
    hits = np.cumsum(weights[:, right], axis=1)
    precision = hits / np.maximum(seen, 1)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = hits / np.maximum(objects, 1)[:, None]
    reached = np.searchsorted(RECALLS, recall, side="right")  # recalls read at or before a detection
    read = (np.diff(reached, axis=1, prepend=0) * highest).sum(1) / len(RECALLS)
    return np.where(objects > 0, read, np.nan)


def mean_over_classes(each: Array) -> Array:
    """Average over the classes that a data set has, `[C, R]` to `[R]`; NaN where it has none."""
    return np.nansum(each, axis=0) / _positive(np.isfinite(each).sum(0))  # type: ignore[no-any-return]


def _positive(count: Array) -> Array:
    """Return what to divide by, so that nothing divided by nothing is NaN."""
    return np.where(count > 0, count, np.nan)
