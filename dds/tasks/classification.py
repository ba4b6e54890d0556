from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection

from dds.batch import Batch
from dds.certificates import Way
from dds.errors import InputError
from dds.metrics.mean import Mean
from dds.metrics.resampling import Resampling
from dds.tasks.base import BaseTask, Statistics
from dds.tasks.classes import likeliest_class, refuse_probabilities
from dds.tasks.one_logit import two_logits


class Classification(BaseTask):
    """One class for each image; any network that returns logits `[B, C]`. Metric: accuracy.

    A binary network may return one logit, `[B, 1]` or `[B]`, which is positive for class 1 (`two_logits`).
    """

    target = "label"
    utility = "accuracy"
    score = right = "correct"
    zero_or_one = ("correct",)
    votes: Mapping[str, Way] = MappingProxyType({"correct": "yes or no"})

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, `[B, C]` with C of at least 2, of images `[B, 3, H, W]` in [0, 1]."""
        output = super().forward(image)
        return two_logits(output if output.ndim > 1 else output[:, None])

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy of each image, `[B]`."""
        return F.cross_entropy(output, batch["label"], reduction="none")

    def decide(self, output: Tensor) -> Tensor:
        """Return the likeliest class, `[B]`; `NO_CLASS` where the logits are not finite."""
        return likeliest_class(output)

    def combine(self, decisions: Tensor) -> Tensor:
        """Return the majority vote over draws; the lower class of a tie."""
        return decisions.mode(0).values

    def statistics(self, decision: Tensor, batch: Batch) -> Statistics:
        """Return the decision and whether it is right, `[B]` each."""
        return {"correct": (decision == batch["label"]).float(), "predicted": decision.float()}

    @staticmethod
    def metrics(resampling: Resampling) -> MetricCollection:
        """Return the accuracy."""
        return MetricCollection({"accuracy": Mean("correct", resampling=resampling)})

    def check_targets(self, output: Tensor, batch: Batch) -> None:
        """Refuse labels that the network has no logit for."""
        if output.ndim != 2:
            raise InputError(f"the network returns {tuple(output.shape)}; expected logits [B, classes].")
        low, high = int(batch["label"].min()), int(batch["label"].max())
        if low < 0 or high >= output.shape[1]:
            raise InputError(
                f"labels span {low}..{high} but the network knows classes 0..{output.shape[1] - 1}. "
                "Check that network and data set belong together."
            )

    def check_output(self, output: Tensor) -> None:
        """Refuse probabilities in place of logits."""
        refuse_probabilities(self.model, output)

    def render(self, decision: Tensor, batch: Batch) -> list[Any]:
        """Return captions: the decided class, marked where it is wrong."""
        pairs = zip(decision.tolist(), batch["label"].tolist(), strict=False)
        return [f"class {got}" if got == true else f"class {got} (wrong)" for got, true in pairs]
