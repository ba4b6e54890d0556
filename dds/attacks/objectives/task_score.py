import math

from dds.attacks.objectives.base import AttackedTask, Objective, Purify, Value
from dds.attacks.objectives.judged import harm
from dds.batch import Batch


class TaskScore(Objective):
    """How badly the task does by its own score of an image, e.g. wrong or not, mean IoU, RMSE.

    It has no gradient: it compares attacks (`WorstOf`) but cannot be climbed.
    """

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the score, negated where higher is better."""
        return lambda image, streams: harm(task, task(purify(image, streams)), batch).to(image)

    def most(self, task: AttackedTask) -> float:
        """Return the harm of a score of 0, below which none goes; errors have no such bound."""
        return math.inf if task.lower_is_better else 0.0
