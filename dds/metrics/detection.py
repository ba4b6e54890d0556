"""COCO's average precision in two steps: which detections of an image are right, and what follows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_area

from dds.metrics.average_precision import interpolated_average_precision

Array = NDArray[Any]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU from which on a detection is right; the metric averages over them."""

_BITS = 2 ** np.arange(len(THRESHOLDS))


def match(detections: Tensor, boxes: Tensor, classes: Tensor, crowd: Tensor) -> tuple[Array, Array]:
    """Match the detections of one image to its objects as COCO does (pycocotools `COCOeval.evaluateImg`).

    By falling score each detection takes, of the objects of its class that are still free, the one that it
    overlaps most, if it does so enough; failing that, a crowd, which any number may take and which makes a
    detection neither right nor wrong.

    Args:
        detections: `[N, 6]` x1, y1, x2, y2, score, class, by falling score.
        boxes: `[M, 4]` x1, y1, x2, y2 of the objects.
        classes: `[M]`.
        crowd: `[M]` bool.

    Returns:
        `right` and `ignored`, bool `[N, 10]`, for each of `THRESHOLDS`.
    """
    other_class = detections[:, 5, None] != classes
    overlap = _overlap(detections[:, :4], boxes, crowd).masked_fill(other_class, -1).numpy()  # (N, M)
    enough = overlap[..., None] >= np.minimum(THRESHOLDS, 1 - 1e-10)  # (N, M, 10)
    crowds = crowd.numpy()[:, None]
    free = np.repeat(~crowds, len(THRESHOLDS), axis=1)  # (M, 10)
    right = np.zeros((len(detections), len(THRESHOLDS)), dtype=bool)
    for place, row in enumerate(overlap):
        possible = enough[place] & free
        for threshold in np.flatnonzero(possible.any(0)):
            best = np.where(possible[:, threshold], row, -1)
            taken = np.flatnonzero(best == best.max())[-1]  # of equals the last, as pycocotools
            right[place, threshold], free[taken, threshold] = True, False
    return right, ~right & (enough & crowds).any(1)


def _overlap(detected: Tensor, boxes: Tensor, crowd: Tensor) -> Tensor:
    """Return the IoU, `[N, M]`; with a crowd the share of the detection that lies in it."""
    detected, boxes = detected.double(), boxes.double()
    low = torch.maximum(detected[:, None, :2], boxes[:, :2])
    high = torch.minimum(detected[:, None, 2:], boxes[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)  # (N, M)
    area = box_area(detected)[:, None]
    return shared / torch.where(crowd, area, area + box_area(boxes) - shared).clamp(min=1e-12)


def to_bits(flags: Array) -> Array:
    """Return what `match` said, bool `[N, 10]`, as one number a detection, `[N]`: bit i for threshold i."""
    return flags @ _BITS


def average_precisions(images: Mapping[str, Array], weights: Array) -> Array:
    """Compute the average precision of each class that occurs, at each of `THRESHOLDS`.

    Args:
        images: Of N images with K detections each, by falling score: `scores` (0: no detection), `classes`,
            and `right` and `ignored` as bits, `[N, K]` each; and `objects` `[N, M]`, the class of each
            object, -1 where there is none.
        weights: `[R, N]`, how often each image is in each data set.

    Returns:
        `[C, 10, R]`; NaN where a data set has no object of the class.
    """
    objects = images["objects"]
    classes = np.unique(objects[objects > 0])
    each = [_of_class(images, weights, one) for one in classes]
    return np.array(each).reshape(len(classes), len(THRESHOLDS), len(weights))


def _of_class(images: Mapping[str, Array], weights: Array, one: int) -> list[Array]:
    image, place = np.nonzero((images["classes"] == one) & (images["scores"] > 0))
    order = np.argsort(-images["scores"][image, place], kind="stable")  # of equals the earlier image first
    image, place = image[order], place[order]
    right, ignored = (images[name][image, place].astype(int) for name in ("right", "ignored"))
    objects = weights @ (images["objects"] == one).sum(1)  # (R,)
    drawn = weights[:, image]  # (R, detections)
    return [
        interpolated_average_precision(right & bit > 0, ignored & bit > 0, objects, drawn) for bit in _BITS
    ]
