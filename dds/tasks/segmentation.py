from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from scipy.special import ndtr
from torch import Tensor, nn
from torchmetrics import MetricCollection

from dds.batch import IGNORED, NO_CLASS, Batch
from dds.certificates import Asked, Way, holding, least_iou
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
    votes: Mapping[str, Way] = MappingProxyType({"pixel_accuracy": "lower bound", "iou": "lower bound"})
    chooses = True
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

    def certify(self, decisions: Tensor, batch: Batch, asked: Asked) -> Statistics:
        """Certify the labelled pixels of images `[K, B, H, W]` (SegCertify, Fischer et al., ICML 2021).

        The first draws choose the class of each pixel, which the others confirm; where they do not, the
        pixel abstains, which is wrong, and may be taken for any class (`least_iou`).

        Returns:
            `pixel_accuracy_certified`, `[B, R]`, with as counts the certified pixels that are right, those
            that are certified, and all; `iou_certified`, `[B, R]`, with as counts `intersection`,
            `predicted` and `labelled` of each class and the pixels that abstain; `abstained`, `[B, R]`.
        """
        chosen, mask = decisions[: asked.selection_draws].mode(0).values.long(), batch["mask"]
        agreeing = (decisions[asked.selection_draws :] == chosen).sum(0)  # (B, H, W)
        draws, counted = len(decisions) - asked.selection_draws, mask != self.ignore_index
        found = []
        for ratio in asked.ratios:
            kept = torch.zeros_like(counted)
            for place, labelled in enumerate(counted):
                agree = agreeing[place][labelled].cpu()
                kept[place][labelled] = torch.from_numpy(
                    holding(agree, draws, float(ndtr(ratio)), asked.alpha)
                ).to(kept.device)
            certain = chosen.where(kept, NO_CLASS)
            counts = count_pixels(certain, mask, self.classes, self.ignore_index)
            found.append(_at_the_worst({name: count.cpu() for name, count in counts.items()}))
        each = {
            name: torch.stack([one[name] for one in found], 1) for name in found[0]
        }  # (B, R) or (B, R, X)
        return {name: value.flatten(1) for name, value in each.items()}

    def pool(self, combined: Statistics) -> dict[str, tuple[float, Sequence[float]]]:
        """Bound the mIoU of all images by their certified pixels, counted together."""
        voted = {name: combined[name].sum(0) for name in ("intersection", "predicted", "labelled")}
        counts = combined["iou_counts"].sum(0).reshape(combined["iou_certified"].shape[1], -1)
        least = []
        for pixels in counts:
            hit, predicted, labelled = pixels[:-1].reshape(3, -1)
            least.append(least_iou(hit, predicted, labelled, int(pixels[-1])))
        return {"mIoU": (float(intersection_over_union(**voted)), least)}

    def answers(self, batch: Batch) -> int:
        """Return how many pixels are certified together."""
        return int((batch["mask"] != self.ignore_index).flatten(1).sum(1).max())

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


def _at_the_worst(counts: Statistics) -> Statistics:
    """Bound the measures of images by their certified pixels; see `SemanticSegmentation.certify`."""
    hit, predicted, labelled = (counts[name] for name in ("intersection", "predicted", "labelled"))  # (B, C)
    pixels, right, kept = labelled.sum(1), hit.sum(1), predicted.sum(1)
    free = pixels - kept
    rows = zip(hit, predicted, labelled, free.tolist(), strict=True)
    found = {
        "pixel_accuracy_certified": right / pixels.clamp(min=1),
        "iou_certified": torch.tensor([least_iou(*row) for row in rows], dtype=torch.float64),
        "abstained": free / pixels.clamp(min=1),
    }
    return {name: value.where(pixels > 0, torch.nan) for name, value in found.items()} | {
        "pixel_accuracy_counts": torch.stack([right, kept, pixels], 1),
        "iou_counts": torch.cat([hit, predicted, labelled, free[:, None]], 1),
    }
