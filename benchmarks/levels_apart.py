"""An attack on the agreement of a purifier with itself at another noise level."""

from torch import Tensor

from dds.attacks import Objective
from dds.attacks.objectives.base import AttackedTask, Calls, Purify, Value
from dds.batch import Batch
from dds.models.diffusion.schedule import NoiseLevel
from dds.noise import Streams
from dds.purifiers import Purifier


class LevelsApart(Objective):
    """Drive the purified image away from what the purifier makes of the same image at another level.

    On images that it knows, a denoiser gives about the same answer at every level: where two levels part, it
    guesses. Needs no label and no task.

    Args:
        purifier: The one that is attacked.
        other: The other level.
    """

    needs_purifier = True

    def __init__(self, purifier: Purifier, other: NoiseLevel) -> None:
        self.purifier, self.other = purifier, other

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the mean squared difference of both in [0, 1] pixel units."""

        def apart(image: Tensor, streams: Streams) -> Tensor:
            other: Tensor = self.purifier(image, self.other, streams.child("other"))
            return (purify(image, streams) - other).square().mean((1, 2, 3))

        return apart

    def task_calls(self, evaluations: Calls) -> Calls:
        """The task is not called."""
        return Calls()

    def purifier_calls(self, evaluations: Calls) -> Calls:
        """Each takes two, and so does its gradient."""
        return evaluations * 2
