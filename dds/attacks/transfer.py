from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from dds.attacks.base import Attack
from dds.attacks.objectives.base import AttackedTask, Calls, Purify
from dds.batch import Batch
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.noise import Streams
from dds.tasks import BaseTask

_OF_NETWORK = ("features", "positive")
"""What a batch holds that the attacked task has made with its own network."""

_OF_CLASSES = ("label", "labels", "mask")
"""Targets of tasks whose network has an output for each class, in the second place."""


class Transfer(Attack):
    """Makes an attack on another network of the same task, and shows what comes of it to the task.

    The task's own network is not called, so that it needs no gradient. An attacker who sees `none` looks at
    the other network alone, as in the classical black-box transfer; one who sees a defence looks at it
    through that defence. What the plan counts as calls of the task are those of the other network.

    Args:
        attack: The attack.
        surrogate: The other network, as a task with a normalisation and input size of its own.

    Raises:
        InputError: If the surrogate is no task.
    """

    def __init__(self, attack: Attack, surrogate: BaseTask) -> None:
        if not isinstance(surrogate, BaseTask):
            raise InputError(
                f"surrogate is a {type(surrogate).__name__}; expected one of dds.tasks around the network, "
                "such as dds.tasks.Classification(network, mean=…, std=…)."
            )
        super().__init__(attack.eps)
        self.attack, self.surrogate = attack, surrogate
        self.norm, self.rounding = attack.norm, attack.rounding

    @property
    def surrogates(self) -> Mapping[str, BaseTask]:
        """Return the surrogate; see `Attack`."""
        return {"surrogate": self.surrogate, **self.attack.surrogates}

    @property
    def needs_purifier(self) -> bool:
        """Whether the attack does."""
        return self.attack.needs_purifier

    @property
    def sees_defence(self) -> bool:
        """Whether the attack does."""
        return self.attack.sees_defence

    @property
    def needs_gradient(self) -> bool:
        """Whether the attack does, of the surrogate."""
        return self.attack.needs_gradient

    @property
    def task_calls(self) -> Calls | None:
        """Calls of the surrogate's network; one more where its loss reads the clean image's features."""
        calls = self.attack.task_calls
        return calls and calls + Calls(forward=int(self.surrogate.reads_features))

    @property
    def purifier_calls(self) -> Calls | None:
        """Those of the attack."""
        return self.attack.purifier_calls

    def climbed(self, task: AttackedTask, batch: Batch) -> list[tuple[AttackedTask, Batch]]:
        """Return what the attack climbs on the surrogate; see `Attack`."""
        return self.attack.climbed(self.surrogate, self._own(batch))

    @property
    def beforehand(self) -> str:
        """That of the attack."""
        return self.attack.beforehand

    def with_one_draw(self) -> Self:
        """Return the same of the attack; see `Attack`."""
        once = copy(self)
        once.attack = self.attack.with_one_draw()
        return once

    def identity(self) -> str:
        """Return that of the attack."""
        return self.attack.identity()

    def prepare(self, data: BaseDataModule) -> None:
        """Prepare the attack and the surrogate, which describes a database, if there is one, by itself."""
        self.attack.prepare(data)
        self.surrogate.prepare(data, {"t0": lambda image, index: image})

    def meet(self, networks: Sequence[nn.Module]) -> None:
        """Let the attack look at the surrogate, too; see `Attack`."""
        self.attack.meet([self.surrogate, *networks])

    def check(self, task: AttackedTask, batch: Batch) -> None:
        """Refuse a surrogate that speaks of other things than the task, or cannot take its images.

        Raises:
            InputError: If it is of another kind of task, knows another number of classes, or fails.
        """
        mine = type(self.surrogate).__name__
        if self.surrogate.target != task.target:
            raise InputError(
                f"the surrogate is {mine}, scored by batch[{self.surrogate.target!r}], and the task "
                f"{type(task).__name__}, scored by batch[{task.target!r}]; expected another network of the "
                "same task."
            )
        try:
            output = self._answer(batch)
            self.surrogate.check_targets(output, batch)
            self.surrogate.check_output(output)
        except InputError as error:
            raise InputError(f"of the surrogate: {error}") from error
        if task.target in _OF_CLASSES and output.shape[1] != (classes := task(batch["image"]).shape[1]):
            raise InputError(
                f"the surrogate knows {output.shape[1]} classes and the task {classes}; expected the same, "
                "as the targets are for both. dds.models.MergedClasses takes a network's classes together."
            )
        self.attack.check(self.surrogate, self._own(batch))

    def craft(self, task: AttackedTask, batch: Batch, through: Sequence[Purify], streams: Streams) -> Tensor:
        """Attack the images of a batch; see `Attack`."""
        return self.attack.craft(self.surrogate, self._own(batch), through, streams)

    def spent(self, attacked: Tensor, image: Tensor) -> Tensor:
        """Return that of the attack, `[B]`."""
        return self.attack.spent(attacked, image)

    def _own(self, batch: Batch) -> Batch:
        """Return a batch as the surrogate is to see it: with what its own network makes of the images."""
        own: dict[str, Any] = {key: value for key, value in batch.items() if key not in _OF_NETWORK}
        if self.surrogate.reads_features:
            with torch.no_grad():
                own["features"] = self.surrogate.look(batch["image"])[1]
        return cast(Batch, own)

    def _answer(self, batch: Batch) -> Tensor:
        try:
            return self.surrogate(batch["image"])  # type: ignore[no-any-return]
        except InputError:
            raise
        except Exception as error:  # of any network, given any images
            height, width = batch["image"].shape[2:]
            raise InputError(
                f"{type(self.surrogate.model).__name__} cannot take images of {height}x{width} "
                f"({type(error).__name__}: {error}). Set its input_size to have it resize them."
            ) from error
