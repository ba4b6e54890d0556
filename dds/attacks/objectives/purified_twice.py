from torch import Tensor

from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Purify, Value
from dds.batch import Batch
from dds.noise import Streams


class PurifiedTwice(Objective):
    """Drive the purified image to where the purifier would change it once more: off the images that it knows.

    A denoiser leaves the images that it was trained on nearly as they are; what it changes again it has not
    learned. Needs no label and no task. Both purifications are at the same level, with noise of their own.
    """

    needs_purifier = True

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the mean squared change of the second purification in [0, 1] pixel units."""

        def change(image: Tensor, streams: Streams) -> Tensor:
            once = purify(image, streams)
            return (purify(once, streams.child("again")) - once).square().mean((1, 2, 3))

        return change

    def task_calls(self, evaluations: Calls) -> Calls:
        """The task is not called."""
        return Calls()

    def purifier_calls(self, evaluations: Calls) -> Calls:
        """Each takes two, and so does its gradient."""
        return evaluations * 2
