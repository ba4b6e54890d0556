from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dds.attacks.objectives.base import AttackedTask, Calls, Purify
from dds.batch import Batch
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.noise import Streams
from dds.numbers import pixels, whole
from dds.tasks import BaseTask

__all__ = ["Attack", "one_of", "pixels", "whole"]


TOLERANCE = 1e-5
"""What float arithmetic may add to an image's perturbation, relative to eps and 1."""


class Attack(ABC):
    """Changes images within a budget so that a task fails.

    Args:
        eps: Budget in [0, 1] pixel units; a number or a fraction such as `8/255`.
    """

    norm: str = "linf"
    """The norm that `eps` bounds: `linf` or `l2`."""

    rounding: float = 0.0
    """By how much each value of its images may be rounded, which does not count against `eps`."""

    def __init__(self, eps: float | str) -> None:
        self.eps = pixels("eps", eps)

    @property
    def needs_purifier(self) -> bool:
        """Whether it attacks the purifier, and so means nothing to an attacker who does not see one."""
        return False

    @property
    def sees_defence(self) -> bool:
        """Whether what the attacker sees matters; else it is measured as of one who sees nothing, `none`."""
        return True

    @property
    def needs_gradient(self) -> bool:
        """Whether it climbs the gradient of what it sees, which must then be there."""
        return True

    @property
    def surrogates(self) -> Mapping[str, BaseTask]:
        """Tasks of its own that it calls besides the one it attacks or in its place, by their names."""
        return {}

    def climbed(self, task: AttackedTask, batch: Batch) -> list[tuple[AttackedTask, Batch]]:
        """Return the tasks whose loss it climbs when it attacks one, each with the batch as it sees it."""
        return [(task, batch)] if self.needs_gradient else []

    @property
    @abstractmethod
    def task_calls(self) -> Calls | None:
        """Calls of the task's network for one image seen through one purifier or none.

        None where that shows only as the attack goes on.
        """

    @property
    @abstractmethod
    def purifier_calls(self) -> Calls | None:
        """Purifications for one image seen through one purifier; None likewise."""

    @property
    def beforehand(self) -> str:
        """What has to be made before the first image and is no part of its calls, for who reads the plan."""
        return ""

    def with_one_draw(self) -> "Attack":
        """Return the attack for where nothing is random: noise draws would be the same, and it takes one."""
        return self

    def identity(self) -> str:
        """Return a short text that changes when it would read other files; none of one that reads none."""
        return ""

    def prepare(self, data: BaseDataModule) -> None:  # noqa: B027
        """Do what has to be done once before the first batch; most have nothing to do.

        Args:
            data: Whose test images are to be attacked.

        Raises:
            InputError: If it cannot attack them.
        """

    def meet(self, networks: Sequence[nn.Module]) -> None:  # noqa: B027
        """Look at the task and all purifiers before the work leaves something in them; most need not."""

    def check(self, task: AttackedTask, batch: Batch) -> None:  # noqa: B027
        """Refuse a task or images that it cannot attack, before any long work; most have nothing to refuse.

        Args:
            task: The task.
            batch: One image and its targets.

        Raises:
            InputError: If it cannot.
        """

    @abstractmethod
    def craft(self, task: AttackedTask, batch: Batch, through: Sequence[Purify], streams: Streams) -> Tensor:
        """Attack the images of a batch.

        Args:
            task: The task, its networks frozen.
            batch: The images and their targets.
            through: What the attacker looks through: one purifier, several to attack their average, or a
                function that returns images as they are for the bare task.
            streams: The attacker's own random numbers.

        Returns:
            `[B, 3, H, W]` in [0, 1], within `eps` of the images.
        """

    def spent(self, attacked: Tensor, image: Tensor) -> Tensor:
        """Return the least that images `[B, 3, H, W]` were moved by before they were rounded, `[B]`."""
        moved = ((attacked - image).abs() - self.rounding).clamp(min=0).flatten(1)
        return torch.linalg.vector_norm(moved, torch.inf if self.norm == "linf" else 2, dim=1)  # type: ignore[no-any-return]


def surrogates_of(attacks: Mapping[str, Attack]) -> dict[str, BaseTask]:
    """Return the tasks that several attacks bring along, named after them."""
    return {
        f"{found} of {name}": surrogate
        for name, attack in attacks.items()
        for found, surrogate in attack.surrogates.items()
    }


def one_of(name: str, choice: str, *choices: str) -> None:
    """Raise an InputError that lists the choices if `choice` is none of them."""
    if choice not in choices:
        raise InputError(f"{name}={choice!r}; expected one of {', '.join(choices)}.")
