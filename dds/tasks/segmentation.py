from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from torch import Tensor, nn
from torchmetrics import MetricCollection

from dds.batch import IGNORED, Batch
from dds.errors import InputError
from dds.metrics.resampling import Resampling
from dds.metrics.segmentation import JaccardIndex, PixelAccuracy, count_pixels, intersection_over_union
from dds.tasks.base import Statistics
from dds.tasks.classes import likeliest_class, refuse_probabilities
from dds.tasks.dense import DenseTask
from dds.tasks.one_logit import two_logits


class SemanticSegmentation(DenseTask):
    """One class for each pixel; any network that returns logits `[B, C, h, w]`.

    Metrics: mIoU over the whole data set (from one count of each class, not the mean of per-image values)
    and pixel accuracy. A binary network may return one logit a pixel, `[B, 1, h, w]`, which is positive for
    class 1 (`two_logits`).

    Args:
        model: As in `BaseTask`.
        ignore_index: The label of pixels that count in no loss, attack or metric; it is no class.
        **options: Those of `BaseTask`.
    """

    target = "mask"
    utility = "mIoU"
    score = "iou"
    classes: int
    """Number of classes; known from the first forward on."""

    def __init__(self, model: str | nn.Module, ignore_index: int = IGNORED, **options: Any) -> None:
        super().__init__(model, **options)
        self.ignore_index = ignore_index

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, `[B, C, H, W]` with C of at least 2, of images `[B, 3, H, W]` in [0, 1]."""
        logits = two_logits(super().forward(image))
        self.classes = logits.shape[1]
        return logits

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy over each image's labelled pixels, `[B]`."""
        mask = batch["mask"]
        losses = F.cross_entropy(output, mask, ignore_index=self.ignore_index, reduction="none")  # (B, H, W)
        labelled = (mask != self.ignore_index).sum((1, 2)).clamp(min=1)
        return losses.sum((1, 2)) / labelled

    def decide(self, output: Tensor) -> Tensor:
        """Return the likeliest class of each pixel, `[B, H, W]`; `NO_CLASS` where logits are not finite."""
        return likeliest_class(output)

    def combine(self, decisions: Tensor) -> Tensor:
        """Return the majority vote of each pixel; the lower class of a tie."""
        return decisions.mode(0).values

    def statistics(self, decision: Tensor, batch: Batch) -> Statistics:
        """Count pixels of each class.

        Returns:
            `intersection`, `predicted`, `labelled`: `[B, C]` pixels of the class in both, in the decision,
            in the mask; `iou`: `[B]` mean IoU over the classes in either; all over labelled pixels.
        """
        counts = count_pixels(decision, batch["mask"], self.classes, self.ignore_index)
        return {**counts, "iou": intersection_over_union(**counts)}

    def unit_scores(self, statistics: Statistics) -> Statistics:
        """Return the mean IoU and the pixel accuracy of each image; NaN where no pixel is labelled."""
        pixels = statistics["labelled"].sum(-1)
        scores = {
            "iou": statistics["iou"],
            "pixel_accuracy": statistics["intersection"].sum(-1) / pixels.clamp(min=1),
        }
        return {name: score.where(pixels > 0, torch.nan) for name, score in scores.items()}

    @staticmethod
    def metrics(resampling: Resampling) -> MetricCollection:
        """Return mIoU over the classes that occur, and pixel accuracy."""
        return MetricCollection(
            {
                "mIoU": JaccardIndex(resampling=resampling),
                "pixel_accuracy": PixelAccuracy(resampling=resampling),
            },
            compute_groups=False,
        )

    def check_targets(self, output: Tensor, batch: Batch) -> None:
        """Refuse masks of another size and labels that the network has no logit for."""
        mask = batch["mask"]
        if mask.shape[1:] != output.shape[2:]:
            raise InputError(
                f"masks are {tuple(mask.shape[1:])} but images {tuple(output.shape[2:])}; expected one label "
                "for each pixel. Resize both alike in the data module (masks by nearest neighbour)."
            )
        if 0 <= self.ignore_index < output.shape[1]:
            raise InputError(
                f"the network knows classes 0..{output.shape[1] - 1}, and {self.ignore_index}, the label of "
                "ignored pixels, is one of them. Set task.ignore_index to a label that is no class, e.g. -1, "
                "which the data must use too (data.ignored of SegmentationPairs)."
            )
        labels = mask[mask != self.ignore_index]
        if labels.numel() and (labels.min() < 0 or labels.max() >= output.shape[1]):
            raise InputError(
                f"mask labels span {int(labels.min())}..{int(labels.max())} but the network knows classes "
                f"0..{output.shape[1] - 1} (and {self.ignore_index} is ignored). Check that network and "
                "data set belong together."
            )

    def check_output(self, output: Tensor) -> None:
        """Refuse probabilities in place of logits."""
        refuse_probabilities(self.model, output)

    def render(self, decision: Tensor, batch: Batch) -> list[Any]:
        """Return the classes as colours, `[H, W, 3]` uint8."""
        pairs = np.array(colormaps["tab20"].colors)  # type: ignore[attr-defined]
        palette = torch.from_numpy(np.concatenate([pairs[::2], pairs[1::2]]) * 255).byte()
        return list(palette[decision.long() % len(palette)].numpy())
