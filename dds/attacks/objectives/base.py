"""What attacks maximise: closures from an image to one value an image."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from dds.batch import Batch
from dds.errors import InputError
from dds.noise import Streams
from dds.tasks import BaseTask

Purify = Callable[[Tensor, Streams], Tensor]
"""What the attacker looks through: images and the streams of a noise draw to images."""

Value = Callable[[Tensor, Streams], Tensor]
"""From images `[B, 3, H, W]` and the streams of a noise draw to one value an image, `[B]`."""


class Scheduled(ABC):
    """A value that changes while an attack goes on, e.g. SegPGD's, or that is not what points are chosen by.

    Called as it is, it is that of the end.
    """

    @abstractmethod
    def __call__(self, image: Tensor, streams: Streams) -> Tensor:
        """Return the value at the end of an attack; see `Value`."""

    @abstractmethod
    def at(self, progress: float) -> Value:
        """Return the value for when the share `progress`, in [0, 1], of an attack's steps is done."""

    def judge(self, image: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """Return the value and, detached, what an attack chooses among points by, the larger the better."""
        value = self(image, streams)
        return value, value.detach()


def judge(value: Value, image: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
    """Return a value and what an attack chooses among points by, `[B]` each; see `Scheduled`."""
    if isinstance(value, Scheduled):
        return value.judge(image, streams)
    seen = value(image, streams)
    return seen, seen.detach()


def at(value: Value, progress: float) -> Value:
    """Return what is to be maximised when the share `progress`, in [0, 1], of an attack's steps is done."""
    return value.at(progress) if isinstance(value, Scheduled) else value


def average(values: Sequence[Value]) -> Value:
    """Return the mean of several values, e.g. of one objective seen through several purifiers."""
    return values[0] if len(values) == 1 else _Average(tuple(values))


@dataclass(frozen=True)
class _Average(Scheduled):
    values: tuple[Value, ...]

    def __call__(self, image: Tensor, streams: Streams) -> Tensor:
        return torch.stack([value(image, streams) for value in self.values]).mean(0)

    def at(self, progress: float) -> Value:
        return _Average(tuple(at(value, progress) for value in self.values))

    def judge(self, image: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        seen, hurt = zip(*(judge(value, image, streams) for value in self.values), strict=True)
        return torch.stack(seen).mean(0), torch.stack(hurt).mean(0)


@dataclass(frozen=True)
class Calls:
    """How often something calls a network, for one image."""

    forward: int = 0
    backward: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.forward + self.backward

    def __add__(self, other: "Calls") -> "Calls":
        return Calls(self.forward + other.forward, self.backward + other.backward)

    def __mul__(self, times: int) -> "Calls":
        return Calls(self.forward * times, self.backward * times)


class AttackedTask(Protocol):
    """What an attack may ask of a task."""

    target: ClassVar[str]
    score: ClassVar[str]
    lower_is_better: ClassVar[bool]
    model: nn.Module

    @property
    def feature_layer(self) -> nn.Module | None:
        """The layer whose features the task compares, if there is one."""

    def __call__(self, image: Tensor) -> Tensor:
        """Return the network's output for images in [0, 1]."""

    def image_loss(self, image: Tensor, batch: Batch) -> Tensor:
        """Return how wrong the network is on each image in [0, 1], `[B]`."""

    def decide(self, output: Tensor) -> Tensor:
        """Turn the network's output into decisions."""

    def statistics(self, decision: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Measure the decisions on each image; `score` names the one that tells better from worse."""


class Objective(ABC):
    """Something to maximise, one value an image."""

    needs_purifier: bool = False
    """Whether it attacks the purifier, and so means nothing to an attacker who does not see one."""

    about_answers: bool = False
    """Whether it is about how wrong the task's answers are, by the labels that the task is scored by."""

    serves: ClassVar[tuple[str, ...]] = ()
    """What a task has to be scored by: one of these keys of a batch, e.g. `label`; anything where empty."""

    @property
    def surrogates(self) -> Mapping[str, BaseTask]:
        """Tasks of its own that it calls; see `Attack`."""
        return {}

    def check_task(self, task: AttackedTask) -> None:
        """Refuse a task that it does not serve.

        Raises:
            InputError: If the task is not scored by one of the keys that the objective `serves`.
        """
        if self.serves and task.target not in self.serves:
            raise InputError(
                f"{type(self).__name__} needs {' or '.join(f'batch[{key!r}]' for key in self.serves)}; "
                f"{type(task).__name__} is scored by batch[{task.target!r}]. Choose TaskLoss, which serves "
                "every task."
            )

    @abstractmethod
    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the objective for the images of a batch, seen through `purify`."""

    def bind_average(self, task: AttackedTask, batch: Batch, through: Sequence[Purify]) -> Value:
        """Return the mean of the objective over all that the attacker looks through."""
        return average([self.bind(task, batch, purify) for purify in through])

    def most(self, task: AttackedTask) -> float:
        """Return what no image can exceed; infinity where there is no such bound."""
        return math.inf

    def task_calls(self, evaluations: Calls) -> Calls:
        """Count calls of the task's network for so many evaluations and gradients of the objective."""
        return evaluations

    def purifier_calls(self, evaluations: Calls) -> Calls:
        """Count purifications likewise."""
        return evaluations


class TaskLoss(Objective):
    """The task's own loss, e.g. the cross-entropy of the class or of every pixel."""

    about_answers = True

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the loss of the batch's targets."""
        return lambda image, streams: task.image_loss(purify(image, streams), batch)
