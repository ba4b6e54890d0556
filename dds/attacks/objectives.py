"""What attacks maximise: closures from an image to one value an image."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor, nn

from dds.batch import Batch
from dds.noise import Streams

Purify = Callable[[Tensor, Streams], Tensor]
"""What the attacker looks through: images and the streams of a noise draw to images."""

Value = Callable[[Tensor, Streams], Tensor]
"""From images `[B, 3, H, W]` and the streams of a noise draw to one value an image, `[B]`."""


@dataclass(frozen=True)
class Calls:
    """How often something calls a network, for one image."""

    forward: int = 0
    backward: int = 0

    def __add__(self, other: "Calls") -> "Calls":
        return Calls(self.forward + other.forward, self.backward + other.backward)

    def __mul__(self, times: int) -> "Calls":
        return Calls(self.forward * times, self.backward * times)


class AttackedTask(Protocol):
    """What an objective may ask of a task."""

    model: nn.Module

    def __call__(self, image: Tensor) -> Tensor:
        """Return the network's output for images in [0, 1]."""

    def image_loss(self, image: Tensor, batch: Batch) -> Tensor:
        """Return how wrong the network is on each image in [0, 1], `[B]`."""


class Objective(ABC):
    """Something to maximise, one value an image."""

    needs_purifier: ClassVar[bool] = False
    """Whether it attacks the purifier, and so means nothing to an attacker who does not see one."""

    @abstractmethod
    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the objective for the images of a batch, seen through `purify`."""

    def task_calls(self, evaluations: Calls) -> Calls:
        """Count calls of the task's network for so many evaluations and gradients of the objective."""
        return evaluations

    def purifier_calls(self, evaluations: Calls) -> Calls:
        """Count purifications likewise."""
        return evaluations


class TaskLoss(Objective):
    """The task's own loss, e.g. the cross-entropy of the class or of every pixel."""

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the loss of the batch's targets."""
        return lambda image, streams: task.image_loss(purify(image, streams), batch)
