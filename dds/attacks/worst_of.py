from collections.abc import Mapping, Sequence
from copy import copy
from typing import Self

import torch
from torch import Tensor, nn

from dds.attacks.base import Attack, surrogates_of, whole
from dds.attacks.gradient import expected_value
from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Purify
from dds.attacks.objectives.task_score import TaskScore
from dds.batch import Batch
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.noise import Streams
from dds.tasks import BaseTask


class WorstOf(Attack):
    """Runs several attacks and keeps, for each image, the one that hurts most; of equals, the first.

    Behind a random purifier, attacks are compared on draws of the attacker's own, the same for all of them,
    and not on those of the evaluation.

    Once every image of a batch does as badly as can be on all of these draws, as a class always wrong does,
    the attacks that follow are left out: none of them could be kept. Calls are counted as if they were not.

    Args:
        attacks: Attacks by name, of one norm and one `eps`.
        judge: What hurts; default the task's own score of an image.
        eot: Noise draws that the judge averages over.

    Raises:
        InputError: If there is no attack, or their budgets differ.
    """

    def __init__(self, attacks: dict[str, Attack], judge: Objective | None = None, eot: int = 1) -> None:
        budgets = {name: (attack.norm, attack.eps) for name, attack in attacks.items()}
        if len(set(budgets.values())) != 1:
            raise InputError(f"the attacks have budgets {budgets}; expected one norm and one eps for all.")
        self.norm, eps = next(iter(budgets.values()))
        super().__init__(eps)
        self.attacks, self.judge, self.eot = attacks, judge or TaskScore(), whole("eot", eot)
        self.rounding = max(attack.rounding for attack in attacks.values())

    @property
    def needs_purifier(self) -> bool:
        """Whether any of them attacks the purifier."""
        return self.judge.needs_purifier or any(attack.needs_purifier for attack in self.attacks.values())

    @property
    def needs_gradient(self) -> bool:
        """Whether any of them does."""
        return any(attack.needs_gradient for attack in self.attacks.values())

    @property
    def surrogates(self) -> Mapping[str, BaseTask]:
        """Those of all attacks; see `Attack`."""
        return {**self.judge.surrogates, **surrogates_of(self.attacks)}

    def climbed(self, task: AttackedTask, batch: Batch) -> list[tuple[AttackedTask, Batch]]:
        """Return those of all attacks; see `Attack`."""
        return [seen for attack in self.attacks.values() for seen in attack.climbed(task, batch)]

    @property
    def task_calls(self) -> Calls | None:
        """Those of all attacks and of the judge."""
        return _sum(self.judge.task_calls(self._looks), *(a.task_calls for a in self.attacks.values()))

    @property
    def purifier_calls(self) -> Calls | None:
        """Those of all attacks and of the judge."""
        return _sum(
            self.judge.purifier_calls(self._looks), *(a.purifier_calls for a in self.attacks.values())
        )

    @property
    def _looks(self) -> Calls:
        return Calls(forward=len(self.attacks) * self.eot)

    @property
    def beforehand(self) -> str:
        """Those of all attacks."""
        return "; ".join(filter(None, [attack.beforehand for attack in self.attacks.values()]))

    def with_one_draw(self) -> Self:
        """Return the same of its attacks, and with one draw for the judge; see `Attack`."""
        once = copy(self)
        once.attacks, once.eot = {name: a.with_one_draw() for name, a in self.attacks.items()}, 1
        return once

    def identity(self) -> str:
        """Return those of all attacks."""
        return "+".join(filter(None, [attack.identity() for attack in self.attacks.values()]))

    def prepare(self, data: BaseDataModule) -> None:
        """Let each attack prepare itself; see `Attack`."""
        for attack in self.attacks.values():
            attack.prepare(data)

    def meet(self, networks: Sequence[nn.Module]) -> None:
        """Let each attack look at them; see `Attack`."""
        for attack in self.attacks.values():
            attack.meet(networks)

    def check(self, task: AttackedTask, batch: Batch) -> None:
        """Let each attack check; see `Attack`."""
        for attack in self.attacks.values():
            attack.check(task, batch)

    def craft(self, task: AttackedTask, batch: Batch, through: Sequence[Purify], streams: Streams) -> Tensor:
        """Attack the images of a batch; see `Attack`."""
        judge = self.judge.bind_average(task, batch, through)
        worst, harm = batch["image"], torch.full_like(batch["image"][:, 0, 0, 0], -torch.inf)
        for name, attack in self.attacks.items():
            if (harm >= self.judge.most(task)).all():
                break
            found = attack.craft(task, batch, through, streams.child("attack", name)).detach()
            done = expected_value(found, judge, streams.child("judge"), self.eot)  # (B,)
            more = done > harm
            worst = torch.where(more.reshape(-1, 1, 1, 1), found, worst)
            harm = torch.where(more, done, harm)
        return worst


def _sum(*calls: Calls | None) -> Calls | None:
    total = Calls()
    for each in calls:
        if each is None:
            return None
        total += each
    return total
