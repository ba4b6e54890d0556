from torch import Tensor

from dds.attacks.objectives import AttackedTask, Objective, Purify, Value
from dds.batch import Batch
from dds.noise import Streams


class TaskScore(Objective):
    """How badly the task does by its own score of an image, e.g. wrong or not, mean IoU, RMSE.

    It has no gradient: it compares attacks (`WorstOf`) but cannot be climbed.
    """

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the score, negated where higher is better."""
        sign = 1 if task.lower_is_better else -1

        def value(image: Tensor, streams: Streams) -> Tensor:
            decision = task.decide(task(purify(image, streams)))
            return sign * task.statistics(decision, batch)[task.score].to(image)

        return value
