from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from torch import Tensor

from dds.batch import IGNORED, Batch
from dds.errors import InputError
from dds.tasks.base import Statistics
from dds.tasks.dense import DenseTask


class SemanticSegmentation(DenseTask):
    """One class for each pixel; any network that returns logits `[B, C, h, w]`.

    Metrics: mIoU over the whole data set (from one count of each class, not the mean of per-image values)
    and pixel accuracy; pixels labelled 255 count in neither.
    """

    target = "mask"
    utility = "mIoU"
    score = "iou"
    classes: int
    """Number of classes; known from the first forward on."""

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `[B, C, H, W]` of images `[B, 3, H, W]` in [0, 1]."""
        logits = super().forward(image)
        self.classes = logits.shape[1]
        return logits

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy over each image's labelled pixels, `[B]`."""
        losses = F.cross_entropy(output, batch["mask"], ignore_index=IGNORED, reduction="none")  # (B, H, W)
        labelled = (batch["mask"] != IGNORED).sum((1, 2)).clamp(min=1)
        return losses.sum((1, 2)) / labelled

    def decide(self, output: Tensor) -> Tensor:
        """Return the likeliest class of each pixel, `[B, H, W]`."""
        return output.max(1).indices  # as argmax, in a tenth of its time

    def combine(self, decisions: Tensor) -> Tensor:
        """Return the majority vote of each pixel; the lower class of a tie."""
        return decisions.mode(0).values

    def statistics(self, decision: Tensor, batch: Batch) -> Statistics:
        """Count pixels of each class.

        Returns:
            `intersection`, `predicted`, `labelled`: `[B, C]` pixels of the class in both, in the decision,
            in the mask; `iou`: `[B]` mean IoU over the classes in either; all over labelled pixels.
        """
        mask = batch["mask"]
        known = mask != IGNORED
        hit = self._count(decision, known & (decision == mask))
        predicted, labelled = self._count(decision, known), self._count(mask, known)
        union = predicted + labelled - hit  # (B, C)
        present = (union > 0).sum(1).clamp(min=1)
        iou = (hit / union.clamp(min=1)).sum(1) / present
        return {"intersection": hit, "predicted": predicted, "labelled": labelled, "iou": iou}

    def _count(self, classes: Tensor, where: Tensor) -> Tensor:
        """Count each class among the pixels `[B, H, W]` that are true in `where`, `[B, C]`.

        An attack asks for it at every step; one-hot masks would cost it more than its network.
        """
        slots = classes.where(where, self.classes).flatten(1)  # what does not count goes into one more
        counts = slots.new_zeros(len(slots), self.classes + 1)
        return counts.scatter_add(1, slots, torch.ones_like(slots))[:, :-1]

    @staticmethod
    def metrics(statistics: Mapping[str, Any], weights: Any) -> dict[str, Any]:
        """Return mIoU over the classes that occur, and pixel accuracy."""
        counts = (weights @ statistics[name] for name in ("intersection", "predicted", "labelled"))
        hit, predicted, labelled = counts  # (R, C) each
        union = predicted + labelled - hit
        iou = hit / np.maximum(union, 1)
        present = np.maximum((union > 0).sum(-1), 1)
        return {
            "mIoU": iou.sum(-1) / present,
            "pixel_accuracy": hit.sum(-1) / np.maximum(labelled.sum(-1), 1),
        }

    def check_targets(self, output: Tensor, batch: Batch) -> None:
        """Refuse masks of another size and labels that the network has no logit for."""
        mask = batch["mask"]
        if mask.shape[1:] != output.shape[2:]:
            raise InputError(
                f"masks are {tuple(mask.shape[1:])} but images {tuple(output.shape[2:])}; expected one label "
                "for each pixel. Resize both alike in the data module (masks by nearest neighbour)."
            )
        labels = mask[mask != IGNORED]
        if labels.numel() and (labels.min() < 0 or labels.max() >= output.shape[1]):
            raise InputError(
                f"mask labels span {int(labels.min())}..{int(labels.max())} but the network knows classes "
                f"0..{output.shape[1] - 1} (and {IGNORED} is ignored). Check that network and data set "
                "belong together."
            )

    def render(self, decision: Tensor, batch: Batch) -> list[Any]:
        """Return the classes as colours, `[H, W, 3]` uint8."""
        pairs = np.array(colormaps["tab20"].colors)  # type: ignore[attr-defined]
        palette = torch.from_numpy(np.concatenate([pairs[::2], pairs[1::2]]) * 255).byte()
        return list(palette[decision.long() % len(palette)].numpy())
