"""COCO's average precision in two steps: which detections of an image are right, and what follows."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torchmetrics.utilities.data import dim_zero_cat
from torchvision.ops import box_area

from dds.metrics.average_precision import mean_over_classes
from dds.metrics.resampled import Resampled

Array = NDArray[Any]

RECALLS = np.linspace(0, 1, 101)
"""Where COCO reads the precision off."""

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU from which on a detection is right; the metric averages over them."""

_BEHIND = np.append(RECALLS[1:], np.inf)
_BITS = 2 ** np.arange(len(THRESHOLDS))
_AT_ONCE = 2**17  # sums that are held at a time; more would not fit into a processor's cache


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

    The precision at a recall is the highest at that recall or any above it, read at 101 recalls (Lin et al.,
    ECCV 2014; pycocotools `COCOeval.accumulate`). As wrong detections only lower it, it is computed at the
    right ones alone.

    Args:
        images: Of N images with K detections each, by falling score: `scores` (0: no detection), `classes`,
            and `right` and `ignored` as bits, `[N, K]` each; and `objects` `[N, M]`, the class of each
            object, -1 where there is none.
        weights: `[N, R]`, how often each image is in each data set.

    Returns:
        `[C, 10, R]`; NaN where a data set has no object of the class.
    """
    classes = np.unique(images["objects"][images["objects"] > 0])
    weights = weights.astype(np.float32)  # whole numbers, and sums of them below 2^24, are exact
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # numpy lets go of the interpreter
        each = list(pool.map(lambda one: _of_class(images, weights, one), classes))
    return np.array(each).reshape(len(classes), len(THRESHOLDS), weights.shape[1])


def _of_class(images: Mapping[str, Array], weights: Array, one: int) -> Array:
    """Return the average precision of a class, `[10, R]`, from some data sets at a time."""
    image, right, ignored = _detections(images, one)
    objects = (images["objects"] == one).sum(1) @ weights  # (R,)
    width = max(64, _AT_ONCE // max(1, int(np.count_nonzero(right))))
    parts = []
    for first in range(0, weights.shape[1], width):
        some = slice(first, first + width)
        drawn = np.ascontiguousarray(weights[:, some])
        parts.append(list(_at_thresholds(drawn, image, right, ignored, objects[some])))
    return np.concatenate(parts, axis=1)


def _detections(images: Mapping[str, Array], one: int) -> tuple[Array, Array, Array]:
    """Return image, `right` and `ignored` of the detections of a class, `[D]` each, by falling score."""
    image, place = np.nonzero((images["classes"] == one) & (images["scores"] > 0))
    order = np.argsort(-images["scores"][image, place], kind="stable")  # of equals the earlier image first
    image, place = image[order], place[order]
    return image, images["right"][image, place].astype(int), images["ignored"][image, place].astype(int)


def _at_thresholds(
    weights: Array, image: Array, right: Array, ignored: Array, objects: Array
) -> Iterator[Array]:
    """Compute the average precision of a class at each of `THRESHOLDS`, `[R]`.

    Args:
        weights: `[N, R]`, how often each image is in each data set.
        image: `[D]`, that of each detection, by falling score.
        right: `[D]`, bits.
        ignored: `[D]`, bits.
        objects: `[R]`, how many there are.
    """
    places = np.flatnonzero(right)  # right at some threshold
    drawn = weights[image[places]]
    seen = _up_to(places, np.arange(len(image)), image, weights)
    for bit in _BITS:
        hit, left_out = right[places] & bit > 0, np.flatnonzero(ignored & bit)
        counted = seen[hit]
        if len(left_out):
            counted -= _up_to(places[hit], left_out, image, weights)
        yield interpolated_average_precision(np.cumsum(drawn[hit], axis=0), counted, objects)


def _up_to(places: Array, counted: Array, image: Array, weights: Array) -> Array:
    """Return how many of the detections at `counted` come up to each of `places`, `[len(places), R]`."""
    next_place = np.searchsorted(places, counted)
    counted, next_place = counted[next_place < len(places)], next_place[next_place < len(places)]
    ones = np.ones(len(counted), weights.dtype)
    between = csr_array((ones, (next_place, image[counted])), shape=(len(places), len(weights)))
    return np.cumsum(between @ weights, axis=0)


def interpolated_average_precision(hits: Array, seen: Array, objects: Array) -> Array:
    """Compute COCO's average precision of one class at one IoU threshold.

    Args:
        hits: `[H, R]`, right detections up to each right one, by falling score.
        seen: `[H, R]`, detections up to there that are right or wrong.
        objects: `[R]` number of objects of the class.

    Returns:
        `[R]`; NaN where a data set has no such object.
    """
    precision = hits / np.maximum(seen, 1).astype(float)
    highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    reached = recalls_up_to(hits / np.maximum(objects, 1))
    read = (np.diff(reached, axis=0, prepend=0) * highest).sum(0) / len(RECALLS)
    return np.where(objects > 0, read, np.nan)


def recalls_up_to(recall: Array) -> Array:
    """Return how many of `RECALLS` are at most these; as `np.searchsorted`, in 40 % of its time."""
    count: Array = np.minimum(recall * 100, 100).astype(np.int32)  # as floats round, it may be one off
    count += _BEHIND[count] <= recall
    count -= RECALLS[count] > recall
    return count + 1


class CocoAveragePrecision(Resampled):
    """COCO's AP (IoU .50:.05:.95), AP50 and AP75, means over the classes that occur.

    On the data set itself it is what torchmetrics' `MeanAveragePrecision` gets from pycocotools; 1 + R of
    those would take hours.
    """

    index: list[Tensor]
    scores: list[Tensor]
    classes: list[Tensor]
    right: list[Tensor]
    ignored: list[Tensor]
    objects: list[Tensor]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_rows("index", "scores", "classes", "right", "ignored", "objects")

    def update(
        self, index: Tensor, scores: Tensor, classes: Tensor, right: Tensor, ignored: Tensor, objects: Tensor
    ) -> None:
        """Add images.

        Args:
            index: `[B]` their places in the data set.
            scores: `[B, K]` of the detections, by falling score; 0: no detection.
            classes: `[B, K]`.
            right: `[B, K]`, what `match` said, by `to_bits`.
            ignored: `[B, K]`, likewise.
            objects: `[B, M]`, the class of each object, -1 where there is none.
        """
        self.index.append(index)
        self.scores.append(scores.float())
        self.classes.append(classes.short())
        self.right.append(right.short())
        self.ignored.append(ignored.short())
        self.objects.append(objects.short())

    def compute(self) -> dict[str, Tensor]:
        """Return `AP`, `AP50` and `AP75` on each data set, `[1 + R]`; NaN where it has no object."""
        names = ("scores", "classes", "right", "ignored", "objects")
        images = {name: dim_zero_cat(getattr(self, name)).cpu().numpy() for name in names}
        weights = self.resampling.weights(dim_zero_cat(self.index)).numpy()  # (N, 1 + R)
        each = average_precisions(images, weights)  # (C, 10, 1 + R)
        named = {"AP": each.mean(1), "AP50": each[:, 0], "AP75": each[:, 5]}
        return {name: torch.from_numpy(mean_over_classes(one)) for name, one in named.items()}
