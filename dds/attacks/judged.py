from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from dds.attacks.objectives import AttackedTask, Scheduled, Value, at
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
    """

    value: Value
    task: AttackedTask
    batch: Batch

    def __call__(self, image: Tensor, streams: Streams) -> Tensor:
        """Return the value; see `Value`."""
        return self.value(image, streams)

    def at(self, progress: float) -> Value:
        """Return the value of then, judged alike; see `Scheduled`."""
        return replace(self, value=at(self.value, progress))

    def judge(self, image: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return the value and the harm done to the task's score; see `Scheduled`.

        Raises:
            InputError: If the value is no function of the task's output, as detectors' losses.
        """
        with outputs_of(cast(nn.Module, self.task)) as outputs:
            value = self(image, streams)
        if not outputs:
            raise InputError(
                "best=score, but the objective does not look at the task's answer, and so knows no score of "
                "it. Set best=value."
            )
        return value, harm(self.task, outputs[-1].detach(), self.batch).to(value)


def harm(task: AttackedTask, output: Tensor, batch: Batch) -> Tensor:
    """Return how badly a task does by its own score of each image, `[B]`: negated where higher is better."""
    with torch.no_grad():
        score = task.statistics(task.decide(output), batch)[task.score]
    return score if task.lower_is_better else -score
