from collections.abc import Callable, Sequence
from copy import copy
from typing import Literal, Self

from torch import Tensor

from dds.attacks.apgd import APGD
from dds.attacks.base import Attack, one_of, whole
from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Purify, TaskLoss
from dds.attacks.objectives.depth_error import RootMeanSquareError
from dds.attacks.objectives.margin import Margin
from dds.attacks.objectives.mask_losses import BalancedMaskedCrossEntropy, JensenShannon
from dds.attacks.pgd import PGD
from dds.attacks.worst_of import WorstOf
from dds.batch import Batch
from dds.noise import Streams

_LEAST = 20  # calls, of ten steps
_EACH = 400  # calls that another objective must have before it is worth its share
_DRAWS = 4  # of the attacker's own, on which objectives are compared

OBJECTIVES: dict[str, tuple[Callable[[], Objective], ...]] = {
    "label": (Margin, TaskLoss),
    "mask": (BalancedMaskedCrossEntropy, JensenShannon),
    "depth": (RootMeanSquareError,),
}
"""What is climbed, by what a task is scored by, the best first; where nothing is said, its own loss."""


class Strongest(Attack):
    """What left least of each task at an equal number of network calls, in one word.

    Behind a random purifier it climbs by `PGD` with a new noise draw for each step, momentum and shrinking
    steps; elsewhere by `APGD`. A larger budget goes to more steps, and then to more objectives, of which each
    image keeps the one that does most harm on noise draws of the attacker's own (`WorstOf`). Steps and
    objectives were chosen on validation images (`docs/attacks.md`).

    Args:
        eps: Budget in [0, 1] pixel units, e.g. `8/255`.
        norm: `linf` or `l2`.
        calls: How often it may call the networks for one image, forward and backward; at least 20.
    """

    def __init__(
        self, eps: float | str = "8/255", norm: Literal["linf", "l2"] = "linf", calls: int = 1000
    ) -> None:
        super().__init__(eps)
        one_of("norm", norm, "linf", "l2")
        self.norm: Literal["linf", "l2"] = norm
        self.calls = whole("calls", calls, least=_LEAST)
        self._random = True

    @property
    def task_calls(self) -> Calls:
        """Those of the task that takes most."""
        each = (self.ensemble(target).task_calls or Calls() for target in ("", *OBJECTIVES))
        return max(each, key=lambda calls: calls.total)

    @property
    def purifier_calls(self) -> Calls:
        """The same: each look at the task is through the purifier."""
        return self.task_calls

    def with_one_draw(self) -> Self:
        """Return the one for where nothing is random; see `Attack`."""
        calm = copy(self)
        calm._random = False
        return calm

    def check(self, task: AttackedTask, batch: Batch) -> None:
        """Let the members check; see `Attack`."""
        self.ensemble(task.target).check(task, batch)

    def craft(self, task: AttackedTask, batch: Batch, through: Sequence[Purify], streams: Streams) -> Tensor:
        """Attack the images of a batch; see `Attack`."""
        return self.ensemble(task.target).craft(task, batch, through, streams)

    def ensemble(self, target: str) -> Attack:
        """Return what it is for a task that is scored by `target`, such as `mask`."""
        objectives = OBJECTIVES.get(target, (TaskLoss,))[: max(1, self.calls // _EACH)]
        if len(objectives) == 1:
            return self._climb(objectives[0](), self.calls)
        draws = _DRAWS if self._random else 1
        each = self.calls // len(objectives) - draws
        members: dict[str, Attack] = {kind.__name__: self._climb(kind(), each) for kind in objectives}
        return WorstOf(members, eot=draws)

    def _climb(self, objective: Objective, calls: int) -> PGD:
        steps = calls // 2
        if not self._random:
            return APGD(self.eps, steps - 1, self.norm, objective=objective)
        return PGD(
            self.eps,
            self.eps / 2,
            steps,
            self.norm,
            objective=objective,
            momentum=0.75,
            shrinking=True,
        )
