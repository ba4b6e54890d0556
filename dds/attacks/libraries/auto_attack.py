from collections.abc import Iterator, Sequence
from copy import copy
from typing import Literal, Self

import torch
from torch import Tensor

from dds.attacks.apgd import APGD
from dds.attacks.base import Attack, one_of
from dds.attacks.gradient import expected_value
from dds.attacks.objectives.base import AttackedTask, Objective, Purify
from dds.attacks.objectives.margin import DLR, Margin
from dds.attacks.objectives.targeted_loss import TargetedLoss
from dds.attacks.objectives.task_score import TaskScore
from dds.attacks.square import Square
from dds.batch import Batch
from dds.errors import InputError
from dds.noise import Streams

_STEPS, _QUERIES = 100, 5000
_TARGETS = 9  # most wrong classes that are tried, the likeliest first
_RESTARTS = {"standard": 1, "plus": 5, "rand": 1}
_LEAST_CLASSES = {"standard": 4, "plus": 4, "rand": 3}  # of the targeted and the untargeted DLR
_EOT = 20


class AutoAttack(Attack):
    """AutoAttack (Croce & Hein, ICML 2020) for classification, put together of `APGD` and `Square`.

    The attacks come one after the other, each on the images that are still right; an image that is wrong from
    the start, or that withstands all, stays as it is. FAB, the authors' third attack, is left out: it looks
    for the nearest wrong image rather than for one within `eps`, and broke nothing that the others left.

    How often it calls the networks depends on how long the images of a batch hold out: 100 times forward and
    backward at least, in the standard version 1000 times and 5000 more forward if one does to the end.

    Args:
        eps: Budget in [0, 1] pixel units, e.g. `8/255`.
        norm: `linf` or `l2`.
        version: `standard`: APGD on the cross-entropy, APGD on the targeted DLR of the 9 likeliest wrong
            classes, Square; at least 4 classes. `rand`: APGD on cross-entropy and DLR, gradients averaged
            over 20 draws; at least 3 classes; the authors' choice for random defences, such as a diffusion
            purifier. `plus`: all, with more restarts.
    """

    task_calls = None
    purifier_calls = None

    def __init__(
        self,
        eps: float | str = "8/255",
        norm: Literal["linf", "l2"] = "linf",
        version: Literal["standard", "plus", "rand"] = "standard",
    ) -> None:
        super().__init__(eps)
        one_of("norm", norm, "linf", "l2")
        one_of("version", version, *_LEAST_CLASSES)
        self.norm: Literal["linf", "l2"] = norm
        self.version, self.eot = version, _EOT if version == "rand" else 1

    def with_one_draw(self) -> Self:
        """Return the same with one noise draw for each gradient and for the judge; see `Attack`."""
        once = copy(self)
        once.eot = 1
        return once

    def check(self, task: AttackedTask, batch: Batch) -> None:
        """Refuse what is no classification, and too few classes; see `Attack`."""
        if task.target != "label":
            raise InputError(
                f"AutoAttack is defined for classification; {type(task).__name__} is scored by "
                f"batch[{task.target!r}]. Choose APGD, for segmentation with the losses of SEA."
            )
        classes = _classes(task, batch)
        if classes < _LEAST_CLASSES[self.version]:
            raise InputError(
                f"AutoAttack {self.version} needs {_LEAST_CLASSES[self.version]} classes; the network knows "
                f"{classes}. Choose APGD with the objective Margin."
            )

    def craft(self, task: AttackedTask, batch: Batch, through: Sequence[Purify], streams: Streams) -> Tensor:
        """Attack the images of a batch; see `Attack`."""
        judge = TaskScore().bind_average(task, batch, through)

        def is_right(image: Tensor) -> Tensor:
            wrong = expected_value(image, judge, streams.child("judge"), self.eot)  # minus the share of right
            return wrong < -0.5  # (B,)

        found, right = batch["image"], is_right(batch["image"])
        for name, attack in self._attacks(_classes(task, batch)):
            if not right.any():
                break
            tried = attack.craft(task, batch, through, streams.child("attack", name)).detach()
            broken = right & ~is_right(tried)
            found = torch.where(broken.reshape(-1, 1, 1, 1), tried, found)
            right = right & ~broken
        return found

    def _attacks(self, classes: int) -> Iterator[tuple[str, Attack]]:
        """Yield the attacks by name, in the authors' order."""
        restarts = range(_RESTARTS[self.version])
        for restart in restarts:
            yield f"ce{restart}", self._apgd(None)
        if self.version != "standard":
            for restart in restarts:
                yield f"dlr{restart}", self._apgd(DLR())
        if self.version != "rand":
            for rank in range(1, min(_TARGETS, classes - 1) + 1):
                yield f"target{rank}", self._apgd(TargetedLoss(rank=rank, loss="dlr"))
            yield "square", Square(self.eps, _QUERIES, self.norm, objective=Margin())

    def _apgd(self, objective: Objective | None) -> APGD:
        return APGD(self.eps, _STEPS, self.norm, eot=self.eot, objective=objective)


def _classes(task: AttackedTask, batch: Batch) -> int:
    with torch.no_grad():
        return task(batch["image"]).shape[1]
