from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchvision.utils import draw_bounding_boxes

from dds.batch import Batch
from dds.errors import InputError
from dds.metrics.detection import THRESHOLDS, CocoAveragePrecision, match, to_bits
from dds.metrics.resampling import Resampling
from dds.models.answers import detections_of
from dds.models.detectors.detector_losses import Target, apart, batch_loss, image_losses
from dds.tasks.base import BaseTask, Statistics
from dds.tasks.packed_boxes import MOST, fuse, pack

_SURE = 0.5  # score from which on a user would act on a detection


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
