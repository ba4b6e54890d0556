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
