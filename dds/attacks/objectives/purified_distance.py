import torch
from torch import Tensor

from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Purify, Value
from dds.batch import Batch
from dds.noise import Streams


class PurifiedDistance(Objective):
    """Drive the purified image away from the purified clean image: an attack on the diffusion process itself.

    Needs no label and no task, so one adversarial image threatens whatever comes after the purifier. Both
    images get the same noise, so that only the perturbation tells them apart; at the clean image itself the
    gradient is zero, so use an optimiser with a random start.
    """

    needs_purifier = True

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the mean squared distance in [0, 1] pixel units."""
        clean = batch["image"]

        def distance(image: Tensor, streams: Streams) -> Tensor:
            with torch.no_grad():
                reference = purify(clean, streams)
            return (purify(image, streams) - reference).square().mean((1, 2, 3))

        return distance

    def task_calls(self, evaluations: Calls) -> Calls:
        """The task is not called."""
        return Calls()

    def purifier_calls(self, evaluations: Calls) -> Calls:
        """The clean image is purified too, without a gradient."""
        return Calls(2 * evaluations.forward, evaluations.backward)
