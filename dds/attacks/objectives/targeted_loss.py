from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dds.attacks.base import one_of, whole
from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Purify, Value
from dds.attacks.objectives.label_objective import labels_of, logits_of
from dds.attacks.objectives.margin import targeted_dlr
from dds.batch import Batch
from dds.errors import InputError
from dds.noise import Streams


class TargetedLoss(Objective):
    """Drive the network towards a certain wrong class; for segmentation, each pixel towards its own.

    A target is never the true class: where a fixed class is the true one, the likeliest other is the target.

    Args:
        target: `likely`: one of the classes that the bare task finds likeliest in the clean image; `random`:
            drawn for each image (for segmentation, the classes of all its pixels are moved on by the same
            drawn number); or the number of a class.
        rank: For `likely`: 1 for the likeliest wrong class, 2 for the next, and so on.
        loss: `ce`: minus the cross-entropy of the target; `dlr`: the targeted DLR (Croce & Hein, ICML 2020,
            eq. 7), which needs at least 4 classes.
    """

    serves = ("label", "mask")

    def __init__(
        self,
        target: int | Literal["likely", "random"] = "likely",
        rank: int = 1,
        loss: Literal["ce", "dlr"] = "ce",
    ) -> None:
        one_of("loss", loss, "ce", "dlr")
        if target not in ("likely", "random") and not (isinstance(target, int) and target >= 0):
            raise InputError(
                f"target={target!r}; expected likely, random, or the number of a class from 0 on."
            )
        self.target, self.rank, self.loss = target, whole("rank", rank), loss

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the objective of targets that stay the same all through the attack.

        Raises:
            InputError: If the task is not scored by classes, or the network knows too few.
        """
        self.check_task(task)
        labels = labels_of(task, batch)
        with torch.no_grad():
            clean = logits_of(task, batch["image"])
        self._check(clean.shape[1])

        def value(image: Tensor, streams: Streams) -> Tensor:
            targets = self.targets(clean, labels.classes, replace(streams, path=("target",)))
            return labels.mean(self._losses(logits_of(task, purify(image, streams)), labels.classes, targets))

        return value

    def task_calls(self, evaluations: Calls) -> Calls:
        """The logits of the clean image take one more forward."""
        return evaluations + Calls(forward=1)

    def targets(self, clean: Tensor, classes: Tensor, streams: Streams) -> Tensor:
        """Choose a wrong class for each label.

        Args:
            clean: `[B, C, N]` logits of the clean image.
            classes: `[B, N]` true classes.
            streams: For `random`.

        Returns:
            `[B, N]`, nowhere equal to `classes`.
        """
        if self.target == "random":
            others = clean.shape[1] - 1
            step = 1 + (streams.uniform(clean[:, 0, :1]) * others).long()  # (B, 1), from 1 to C - 1
            return (classes + step) % clean.shape[1]
        wrong = clean.scatter(1, classes.unsqueeze(1), -torch.inf)
        likely = wrong.topk(self.rank, dim=1).indices[:, -1]  # (B, N)
        if self.target == "likely":
            return likely
        return likely.where(classes == self.target, torch.full_like(classes, int(self.target)))

    def _losses(self, logits: Tensor, classes: Tensor, targets: Tensor) -> Tensor:
        if self.loss == "dlr":
            return targeted_dlr(logits, classes, targets)
        return -F.cross_entropy(logits, targets, reduction="none")

    def _check(self, classes: int) -> None:
        if self.rank >= classes or (isinstance(self.target, int) and self.target >= classes):
            raise InputError(
                f"target={self.target}, rank={self.rank}; expected both below the {classes} classes known."
            )
