from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection

from dds.batch import Batch
from dds.certificates import Way
from dds.errors import InputError
from dds.metrics.average_precision import LabelAveragePrecision
from dds.metrics.labels import LabelAccuracy
from dds.metrics.resampling import Resampling
from dds.tasks.base import BaseTask, Statistics
from dds.tasks.classes import refuse_probabilities


class MultiLabelClassification(BaseTask):
    """Which of the classes an image shows; any network that returns logits `[B, C]`.

    Metrics: mAP over the classes that occur, and the accuracy of the single yes-or-no answers. Answers on
    labels that are not known (-1) count in neither.
    """

    target = "labels"
    utility = "mAP"
    score = "accuracy"
    votes: Mapping[str, Way] = MappingProxyType({"labels_right": "yes or no"})

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean binary cross-entropy over each image's known labels, `[B]`."""
        labels = batch["labels"]
        known = (labels >= 0).float()
        losses = F.binary_cross_entropy_with_logits(output, labels.clamp(min=0), known, reduction="none")
        return losses.sum(1) / known.sum(1).clamp(min=1)

    def decide(self, output: Tensor) -> Tensor:
        """Return the probability of each class, `[B, C]`; NaN where there is none."""
        return output.sigmoid()

    def combine(self, decisions: Tensor) -> Tensor:
        """Return the mean probability over draws."""
        return decisions.mean(0)

    def statistics(self, decision: Tensor, batch: Batch) -> Statistics:
        """Return `probability` and `labels`, `[B, C]` each, and `accuracy`, `[B]` over the known labels."""
        labels = batch["labels"]
        known = labels >= 0
        probability = decision.where(decision.isfinite(), 1.0 - labels)  # no answer is the wrong one
        right = ((probability > 0.5) == (labels > 0.5)) & known
        accuracy = right.sum(1) / known.sum(1).clamp(min=1)
        return {"probability": probability, "labels": labels, "accuracy": accuracy}

    def yes_or_no(self, decision: Tensor, batch: Batch) -> Statistics:
        """Return as `labels_right`, `[B, C]`, of each known label whether the answer is right."""
        known = batch["labels"] >= 0
        right = ((decision > 0.5) == (batch["labels"] > 0.5)) & decision.isfinite()
        return {"labels_right": right.float().where(known, torch.nan)}

    @staticmethod
    def metrics(resampling: Resampling) -> MetricCollection:
        """Return mAP and accuracy."""
        return MetricCollection(
            {
                "mAP": LabelAveragePrecision(resampling=resampling),
                "accuracy": LabelAccuracy(resampling=resampling),
            },
            compute_groups=False,
        )

    def check_targets(self, output: Tensor, batch: Batch) -> None:
        """Refuse labels of another number of classes."""
        expected = (len(batch["labels"]), batch["labels"].shape[1])
        if output.ndim != 2 or output.shape[1] != expected[1]:
            raise InputError(
                f"the network returns {tuple(output.shape)}; expected logits {expected}, one for each class "
                "of the data set. Check that network and data set belong together."
            )

    def check_output(self, output: Tensor) -> None:
        """Refuse probabilities in place of logits."""
        refuse_probabilities(self.model, output)

    def render(self, decision: Tensor, batch: Batch) -> list[Any]:
        """Return captions: the classes that are seen, those that are wrong marked."""
        pairs = zip(decision > 0.5, batch["labels"], strict=False)
        return [_caption(seen, labels) for seen, labels in pairs]


def _caption(seen: Tensor, labels: Tensor) -> str:
    classes = seen.nonzero().flatten().tolist()
    return " ".join(f"{c}" if labels[c] != 0 else f"{c} (wrong)" for c in classes) or "nothing"
