from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from dds.attacks.objectives.base import AttackedTask, Scheduled, Value, at
from dds.attacks.objectives.label_objective import known_pixels
from dds.batch import Batch
from dds.errors import InputError
from dds.models.features import outputs_of
from dds.noise import Streams


@dataclass(frozen=True)
class Judged(Scheduled):
    """A value beside which the task's own score is taken, from the same call of the network.

    Attributes:
        value: What is climbed.
        task: The task.
        batch: The images that the value is about, and their targets.
        by: What is taken: `score`, or `pixel_accuracy`, which segmentation knows besides.
    """

    value: Value
    task: AttackedTask
    batch: Batch
    by: str = "score"

    def __call__(self, image: Tensor, streams: Streams) -> Tensor:
        """Return the value; see `Value`."""
        return self.value(image, streams)

    def at(self, progress: float) -> Value:
        """Return the value of then, judged alike; see `Scheduled`."""
        return replace(self, value=at(self.value, progress))

    def judge(self, image: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return the value and the harm done to the task's answer; see `Scheduled`.

        Raises:
            InputError: If the value is no function of the task's output, as detectors' losses, or the task
                knows no pixel accuracy.
        """
        with outputs_of(cast(nn.Module, self.task)) as outputs:
            value = self(image, streams)
        if not outputs:
            raise InputError(
                f"best={self.by}, but the objective does not look at the task's answer, so that it has none. "
                "Set best=value."
            )
        done = pixels_wrong if self.by == "pixel_accuracy" else harm
        return value, done(self.task, outputs[-1].detach(), self.batch).to(value)


def harm(task: AttackedTask, output: Tensor, batch: Batch) -> Tensor:
    """Return how badly a task does by its own score of each image, `[B]`: negated where higher is better."""
    with torch.no_grad():
        score = task.statistics(task.decide(output), batch)[task.score]
    return score if task.lower_is_better else -score


def pixels_wrong(task: AttackedTask, output: Tensor, batch: Batch) -> Tensor:
    """Return the share of the labelled pixels that segmentation gets wrong, `[B]`.

    Raises:
        InputError: If the task is another.
    """
    if task.target != "mask":
        raise InputError(
            f"best=pixel_accuracy is for segmentation; {type(task).__name__} has none. Set best=score."
        )
    known = known_pixels(task, batch)
    wrong = (task.decide(output) != batch["mask"]) & known
    return wrong.sum((1, 2)) / known.sum((1, 2)).clamp(min=1)
