"""How far a YOLOX prediction is from the objects in the image; for attacks, not for training."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

_CANDIDATES = 10


class Prediction(NamedTuple):
    """What the network says of one image at its P points.

    Attributes:
        boxes: `[P, 4]` x1, y1, x2, y2.
        objectness: `[P]` in [0, 1].
        classes: `[P, C]` in [0, 1].
    """

    boxes: Tensor
    objectness: Tensor
    classes: Tensor


def detection_losses(found: Prediction, boxes: Tensor, classes: Tensor, centres: Tensor) -> dict[str, Tensor]:
    """Measure how far a prediction is from the objects in the image, differentiably.

    The terms are those of YOLOX (Ge et al., arXiv 2107.08430): binary cross-entropy of the objectness at all
    points, and at the matched points of the classes and 1 - IoU of the boxes, each divided by the number of
    matched points.

    Args:
        found: The prediction.
        boxes: `[N, 4]` the true boxes, in the prediction's coordinates.
        classes: `[N, C]` one-hot.
        centres: `[P, 2]` x, y of the points, in the same coordinates.

    Returns:
        Scalars `loss_objectness`, `loss_classifier` and `loss_box_reg`; the last two are 0 without objects.
    """
    objects, points = match_points(found.boxes.detach(), boxes, centres)
    matched = max(len(points), 1)
    present = torch.zeros_like(found.objectness)
    present[points] = 1
    overlap = box_iou(found.boxes[points], boxes[objects]).diagonal()  # (M,)
    return {
        "loss_objectness": _cross_entropy(found.objectness, present) / matched,
        "loss_classifier": _cross_entropy(found.classes[points], classes[objects]) / matched,
        "loss_box_reg": (1 - overlap).sum() / matched,
    }


def match_points(predicted: Tensor, boxes: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Choose the points that answer for each object.

    A simplification of YOLOX's SimOTA: of the points in a box (or the nearest, if there is none) those whose
    predicted boxes overlap it best, as many as the ten best overlaps add up to, at least one. The predicted
    classes play no part, and a point may answer for several objects.

    Args:
        predicted: `[P, 4]` the boxes predicted at the points.
        boxes: `[N, 4]` the true boxes.
        centres: `[P, 2]` x, y of the points.

    Returns:
        Indices of objects and of their points, `[M]` each.
    """
    inside = ((centres > boxes[:, None, :2]) & (centres < boxes[:, None, 2:])).all(2)  # (N, P)
    nearest = torch.cdist((boxes[:, :2] + boxes[:, 2:]) / 2, centres).argmin(1)  # (N,)
    inside.scatter_(1, nearest[:, None], True)
    overlap = box_iou(boxes, predicted).masked_fill(~inside, -1)  # (N, P)
    best, points = overlap.topk(_CANDIDATES, dim=1)  # (N, 10)
    enough = best.clamp(min=0).sum(1).floor().clamp(min=1)  # (N,)
    chosen = (torch.arange(_CANDIDATES, device=boxes.device) < enough[:, None]) & (best >= 0)
    return chosen.nonzero()[:, 0], points[chosen]


def _cross_entropy(probability: Tensor, truth: Tensor) -> Tensor:
    return F.binary_cross_entropy(probability, truth, reduction="sum")
