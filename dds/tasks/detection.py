from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchvision.ops import box_iou
from torchvision.utils import draw_bounding_boxes

from dds.batch import Batch
from dds.certificates import Asked, Way, least_box_iou, median_interval
from dds.errors import InputError
from dds.metrics.detection import THRESHOLDS, CocoAveragePrecision, match, to_bits
from dds.metrics.resampling import Resampling
from dds.models.answers import detections_of
from dds.models.detectors.detector_losses import Target, apart, batch_loss, image_losses
from dds.tasks.base import BaseTask, Statistics
from dds.tasks.packed_boxes import MOST, fuse, pack

_SURE = 0.5  # score from which on a user would act on a detection
_COVERS = 0.5  # IoU from which on it is about the object


class ObjectDetection(BaseTask):
    """Boxes with a class and a score; any of torchvision's detectors, or a network with their interface.

    That is: in evaluation mode `model([image, ...])` returns for each image `boxes` [N, 4] in its pixels,
    `labels` [N] and `scores` [N]; in training mode `model(images, targets)` returns losses. Such networks
    resize and normalise by themselves, so `mean`, `std` and `input_size` are not used.

    Metrics: COCO's AP (IoU .50:.05:.95, 101 recalls, at most 100 detections of an image), AP50 and AP75. The
    attack maximises the sum of the losses that the network is trained with, on each image by itself.

    Of K noise draws, detections of one class that overlap by half are taken for one object: its box is the
    median of each coordinate (as in median smoothing, Chiang et al., NeurIPS 2020), its score the mean over
    the draws, 0 where a draw lacks it, so that what one draw alone sees loses weight but is not thrown away.
    """

    target = "boxes"
    utility = "AP"
    score = "f1"
    votes: Mapping[str, Way] = MappingProxyType({"found": "yes or no", "box_iou": "lower bound"})
    localised = True
    normalises = False

    def forward(self, image: Tensor) -> Tensor:
        """Return detections `[B, 100, 6]`: x1, y1, x2, y2, score, class by falling score; score 0: none."""
        found = detections_of(self.model(apart(image)), len(image))
        return torch.stack([_pack(one) for one in found])

    def image_loss(self, image: Tensor, batch: Batch) -> Tensor:
        """Return the sum of the network's training losses on each image, `[B]`."""
        return image_losses(self.model, image, _targets(batch), batch["index"].tolist())

    def continuous_output(self, image: Tensor, batch: Batch) -> Tensor:
        """Return the best score, `[B]`: detections come and go, but that one stays."""
        return cast(Tensor, self(image)[..., 4].amax(1))

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Refuse: a detector's losses do not follow from its detections; `image_loss` asks the network."""
        raise NotImplementedError("use image_loss")

    def losses(self, output: Tensor, batch: Batch) -> Statistics:
        """Return nothing; see `loss`."""
        return {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the sum of the network's losses on a batch."""
        loss = batch_loss(self.model, batch["image"], _targets(batch))
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def decide(self, output: Tensor) -> Tensor:
        """Return the detections."""
        return output

    def combine(self, decisions: Tensor) -> Tensor:
        """Return one set of detections for each image, `[B, 100, 6]`, of `[K, B, 100, 6]`."""
        return torch.stack([fuse(draws) for draws in decisions.unbind(1)])

    def statistics(self, decision: Tensor, batch: Batch) -> Statistics:
        """Match detections to objects.

        Returns:
            `scores` and `classes`: `[B, 100]` of the detections; `right` and `ignored`: `[B, 100]`, bit i for
            the i-th IoU threshold; `objects`: `[B, M]` class of each object, -1 where there is none; `f1`:
            `[B]` at IoU .5 of the detections with a score of at least .5.
        """
        crowd = batch.get("crowd", torch.zeros_like(batch["classes"], dtype=torch.bool))
        images = zip(decision.cpu(), batch["boxes"].cpu(), batch["classes"].cpu(), crowd.cpu(), strict=True)
        rows = [_match_image(*image) for image in images]
        statistics = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return {**statistics, "objects": _objects(batch).cpu()}

    def yes_or_no(self, decision: Tensor, batch: Batch) -> Statistics:
        """Return as `found`, `[B, M]`, of each object whether a sure detection of its class covers it.

        Sure is a score of at least .5, to cover is an IoU of at least .5.
        """
        found = _best_overlap(decision, batch)[0] >= _COVERS
        return {"found": found.float().where(_objects(batch) > 0, torch.nan)}

    def certify(self, decisions: Tensor, batch: Batch, asked: Asked) -> Statistics:
        """Bound the boxes of objects, of detections `[K, B, 100, 6]` (Chiang et al., NeurIPS 2020).

        An object's box is that of the sure detection of its class which overlaps it most. Each edge is the
        median over draws; in a draw without one it may be anywhere.

        Returns:
            `box_iou_certified`, `[B, R]`, the mean over an image's objects of the least IoU of that box with
            the true one; and `box_iou`, `[B]`, the same as drawn. NaN of images without objects.
        """
        boxes = torch.stack([_best_overlap(one, batch)[1] for one in decisions]).cpu()  # (K, B, M, 4)
        real, truth = (_objects(batch) > 0).cpu(), batch["boxes"].cpu()
        each = [
            _least_ious(boxes[:, place][:, one], truth[place][one], asked) for place, one in enumerate(real)
        ]
        least = torch.tensor(np.array(each))  # (B, 1 + R)
        return {"box_iou": least[:, 0], "box_iou_certified": least[:, 1:]}

    def answers(self, batch: Batch) -> int:
        """Return on how many sides the edges of objects are bounded."""
        return 8 * int((_objects(batch) > 0).sum(1).max())

    @staticmethod
    def metrics(resampling: Resampling) -> MetricCollection:
        """Return AP, AP50 and AP75, means over the classes that occur."""
        return MetricCollection([CocoAveragePrecision(resampling=resampling)])

    def check_targets(self, output: Tensor, batch: Batch) -> None:
        """Refuse boxes outside of the image."""
        height, width = batch["image"].shape[-2:]
        boxes = batch["boxes"][batch["classes"] >= 0]
        limits = boxes.new_tensor([width, height, width, height])
        outside = (boxes < -1) | (boxes > limits + 1) | ~boxes.isfinite()
        if outside.any() or (boxes[:, 2:] < boxes[:, :2]).any():
            raise InputError(
                f"boxes leave images of {height}x{width} or are turned inside out; expected x1 <= x2, y1 <= "
                "y2 in pixels. Scale boxes and images alike in the data module."
            )
        if (batch["classes"] == 0).any():
            raise InputError("a box has class 0, which is the detectors' background; count classes from 1.")

    def render(self, decision: Tensor, batch: Batch) -> list[Any]:
        """Return each image with the boxes of a score of at least .5, `[H, W, 3]` uint8."""
        pairs = zip((batch["image"] * 255).round().byte(), decision, strict=False)
        return [_draw(image, found[found[:, 4] >= _SURE]) for image, found in pairs]


def _targets(batch: Batch) -> list[Target]:
    """Return the objects of each image as torchvision's detectors are trained on them."""
    extent = batch["boxes"][..., 2:] - batch["boxes"][..., :2]  # (B, M, 2)
    kept = (_objects(batch) > 0) & (extent > 0).all(-1)  # the detectors refuse boxes without area
    triples = zip(batch["boxes"], batch["classes"], kept, strict=True)
    return [{"boxes": boxes[kept], "labels": classes[kept]} for boxes, classes, kept in triples]


def _objects(batch: Batch) -> Tensor:
    """Return the class of each single object, -1 in unused places and for crowds, `[B, M]`."""
    classes = batch["classes"]
    return classes.masked_fill(batch["crowd"], -1) if "crowd" in batch else classes


def _best_overlap(decision: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Find for each object the sure detection of its class that overlaps it most.

    Args:
        decision: `[B, 100, 6]`.
        batch: Its objects.

    Returns:
        The IoU, `[B, M]`, and the box, `[B, M, 4]`, NaN where nothing overlaps it.
    """
    images = zip(decision, batch["boxes"], batch["classes"], strict=True)
    overlaps, boxes = zip(*(_best_of_image(*image) for image in images), strict=True)
    return torch.stack(overlaps), torch.stack(boxes)


def _best_of_image(found: Tensor, truth: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    found = found.nan_to_num(0.0)  # a score of 0: no detection
    possible = (found[:, 4, None] >= _SURE) & (found[:, 5, None] == classes)  # (100, M)
    overlap, best = box_iou(found[:, :4], truth.to(found)).nan_to_num(0.0).where(possible, 0.0).max(0)
    return overlap, found[best, :4].where(overlap[:, None] > 0, torch.nan)


def _least_ious(boxes: Tensor, truth: Tensor, asked: Asked) -> list[float]:
    """Average the least IoU of the median boxes over objects, `[K, M, 4]`: as drawn, and at each radius."""
    if not len(truth):
        return [float("nan")] * (1 + len(asked.ratios))
    low, high = (boxes.nan_to_num(nan=missing) for missing in (-torch.inf, torch.inf))
    bounds: list[tuple[Any, Any]] = [(low.median(0).values, high.median(0).values)]
    bounds += [
        (median_interval(low, r, asked.alpha)[0], median_interval(high, r, asked.alpha)[1])
        for r in asked.ratios
    ]
    return [float(least_box_iou(least, most, truth).mean()) for least, most in bounds]


def _pack(found: Mapping[str, Tensor]) -> Tensor:
    scores = found["scores"]
    rows = torch.cat([found["boxes"], scores[:, None], found["labels"][:, None].to(scores)], dim=1)
    return pack(rows.masked_fill(~rows.isfinite().all(1, keepdim=True), torch.nan))  # NaN comes first


def _match_image(found: Tensor, boxes: Tensor, classes: Tensor, crowd: Tensor) -> dict[str, Tensor]:
    answered = found.isfinite().all()
    found = found.nan_to_num(0.0)  # a score of 0: no detection
    exists, real = classes >= 0, found[:, 4] > 0
    right, ignored = (np.zeros((MOST, len(THRESHOLDS)), dtype=bool) for _ in range(2))
    right[real], ignored[real] = match(found[real], boxes[exists], classes[exists], crowd[exists])
    sure = (found[:, 4] >= _SURE).numpy() & ~ignored[:, 0]
    wanted = sure.sum() + (exists & ~crowd).sum().item()
    f1 = 2 * (right[:, 0] & sure).sum() / wanted if wanted else float(answered)
    return {
        "scores": found[:, 4],
        "classes": found[:, 5].long(),
        "right": torch.from_numpy(to_bits(right)),
        "ignored": torch.from_numpy(to_bits(ignored)),
        "f1": torch.tensor(f1, dtype=torch.float32),
    }


def _draw(image: Tensor, found: Tensor) -> Any:
    thick = max(1, image.shape[1] // 100)
    drawn = draw_bounding_boxes(image, found[:, :4], colors="yellow", width=thick) if len(found) else image
    return drawn.permute(1, 2, 0).numpy()
