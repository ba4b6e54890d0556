"""What attacks maximise: closures from an image to one value an image."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from dds.batch import Batch
from dds.noise import Streams

Purify = Callable[[Tensor, Streams], Tensor]
"""What the attacker looks through: images and the streams of a noise draw to images."""


class AttackedTask(Protocol):
    """What an objective may ask of a task."""

    def __call__(self, image: Tensor) -> Tensor:
        """Return the network's output for images in [0, 1]."""

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return how wrong the output is on each image, `[B]`."""


class Objective(ABC):
    """Something to maximise, one value an image."""

    @abstractmethod
    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Callable[[Tensor, Streams], Tensor]:
        """Return the objective for the images of a batch, seen through `purify`."""


class TaskLoss(Objective):
    """The task's own loss, e.g. the cross-entropy of the class or of every pixel."""

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Callable[[Tensor, Streams], Tensor]:
        """Return the loss of the batch's targets."""
        return lambda image, streams: task.loss(task(purify(image, streams)), batch)
