from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from dds.attacks.objectives.base import AttackedTask, Objective, Purify, Scheduled, Value
from dds.batch import IGNORED, Batch
from dds.errors import InputError
from dds.noise import Streams


class Labels(NamedTuple):
    """The true classes of images: N is 1 for classification, the number of pixels for segmentation."""

    classes: Tensor  # (B, N), 0 where not known
    known: Tensor  # (B, N), False for ignored pixels

    def mean(self, losses: Tensor) -> Tensor:
        """Average `[B, N]` losses over each image's known labels, `[B]`."""
        return torch.where(self.known, losses, 0).sum(1) / self.known.sum(1).clamp(min=1)


class LabelObjective(Objective):
    """An objective on logits and true classes; ignored pixels count in nothing.

    A subclass says what each label's share is.
    """

    about_answers = True

    serves: ClassVar[tuple[str, ...]] = ("label", "mask")

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the objective of the batch's labels.

        Raises:
            InputError: If the task is not scored by such classes.
        """
        self.check_task(task)
        return _Bound(self, task, labels_of(task, batch), purify)

    @abstractmethod
    def losses(self, logits: Tensor, labels: Labels, progress: float) -> Tensor:
        """Return each label's share of the objective.

        Args:
            logits: `[B, C, N]`.
            labels: N labels of each image.
            progress: Share of the attack's steps that is done, in [0, 1].

        Returns:
            `[B, N]`; what stands where a label is not known is left out.
        """

    def value(self, logits: Tensor, labels: Labels, progress: float) -> Tensor:
        """Return the objective for each image, `[B]`; see `losses`."""
        return labels.mean(self.losses(logits, labels, progress))


@dataclass(frozen=True)
class _Bound(Scheduled):
    objective: LabelObjective
    task: AttackedTask
    labels: Labels
    purify: Purify
    progress: float = 1.0

    def __call__(self, image: Tensor, streams: Streams) -> Tensor:
        logits = logits_of(self.task, self.purify(image, streams))
        return self.objective.value(logits, self.labels, self.progress)

    def at(self, progress: float) -> Value:
        return replace(self, progress=progress)


def labels_of(task: AttackedTask, batch: Batch) -> Labels:
    """Return the true classes of a batch, whose target is `label` or `mask`."""
    if task.target == "label":
        classes = batch["label"][:, None]
        return Labels(classes, torch.ones_like(classes, dtype=torch.bool))
    mask, known = batch["mask"].flatten(1), known_pixels(task, batch).flatten(1)
    return Labels(mask.where(known, 0), known)


def known_pixels(task: AttackedTask, batch: Batch) -> Tensor:
    """Return which pixels of a batch's masks are labelled, bool `[B, H, W]`."""
    return batch["mask"] != getattr(task, "ignore_index", IGNORED)


def logits_of(task: AttackedTask, image: Tensor) -> Tensor:
    """Return a task's logits for images, `[B, C, N]` with N = 1 for classification."""
    logits = task(image)
    return logits.reshape(*logits.shape[:2], -1)


def need_classes(name: str, logits: Tensor, least: int) -> None:
    """Raise an InputError if `[B, C, N]` logits are of fewer classes than an objective compares."""
    if logits.shape[1] < least:
        raise InputError(
            f"{name} compares {least} logits, but the network knows {logits.shape[1]} classes; expected at "
            f"least {least}. Choose Margin, which needs 2."
        )
