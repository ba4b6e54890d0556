from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Self, get_args

import torch
from torch import Tensor

from dds.attacks.base import Attack, one_of
from dds.attacks.gradient import Weights
from dds.attacks.objectives.base import (
    AttackedTask,
    Calls,
    Objective,
    Purify,
    TaskLoss,
    Value,
    average,
    judge,
)
from dds.batch import Batch
from dds.noise import Streams
from dds.tasks import BaseTask


class Optimiser(Attack):
    """An attack that knows nothing but an objective, and changes images so that it grows.

    Args:
        eps: Budget in [0, 1] pixel units; a number or a fraction such as `8/255`.
        objective: What is maximised; default the task's own loss.
        eot_weights: Which noise draws count for more in a gradient; see `Weights`.
    """

    eot: int = 1
    """Noise draws that each gradient and value is averaged over."""

    random_start: bool = False
    """Whether it starts away from the image."""

    def __init__(self, eps: float | str, objective: Objective | None, eot_weights: Weights = "equal") -> None:
        super().__init__(eps)
        one_of("eot_weights", eot_weights, *get_args(Weights))
        self.objective, self.eot_weights = objective or TaskLoss(), eot_weights

    @property
    @abstractmethod
    def calls(self) -> Calls:
        """How often one image's attack evaluates the objective, with and without its gradient."""

    @abstractmethod
    def __call__(self, image: Tensor, value: Value, streams: Streams) -> Tensor:
        """Attack images.

        Args:
            image: `[B, 3, H, W]` in [0, 1].
            value: What to maximise, for each image; told with `at` how far the attack is.
            streams: The attacker's own random numbers.

        Returns:
            `[B, 3, H, W]` in [0, 1], within `eps` of the images.
        """

    @property
    def surrogates(self) -> Mapping[str, BaseTask]:
        """Those of the objective."""
        return self.objective.surrogates

    @property
    def needs_purifier(self) -> bool:
        """Whether the objective is about the purifier."""
        return self.objective.needs_purifier

    @property
    def task_calls(self) -> Calls:
        """Those of the objective's evaluations."""
        return self.objective.task_calls(self.calls)

    @property
    def purifier_calls(self) -> Calls:
        """Those of the objective's evaluations."""
        return self.objective.purifier_calls(self.calls)

    def with_one_draw(self) -> Self:
        """Return the same with one noise draw for each gradient and value; see `Attack`."""
        once = copy(self)
        once.eot = 1
        return once

    def check(self, task: AttackedTask, batch: Batch) -> None:
        """Evaluate the objective once; see `Attack`."""
        value = self._bind(task, batch, lambda image, streams: image)
        with torch.no_grad():
            judge(value, batch["image"], Streams(0, (0,)))

    def craft(self, task: AttackedTask, batch: Batch, through: Sequence[Purify], streams: Streams) -> Tensor:
        """Attack the images of a batch; see `Attack`."""
        value = average([self._bind(task, batch, purify) for purify in through])
        return self(batch["image"], value, streams)

    def _bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return what is maximised of what is seen through one purifier."""
        return self.objective.bind(task, batch, purify)
