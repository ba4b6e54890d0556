"""Attacks on detectors that aim at what is not there: fewer objects, or more."""

from typing import ClassVar

from dds.attacks.objectives.base import AttackedTask, Objective, Purify, Value
from dds.batch import Batch


class _NoObjects(Objective):
    """The network's training losses on an image that is said to hold no object, times `sign`."""

    sign: ClassVar[int]

    serves = ("boxes",)

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the losses of each image without its objects.

        Raises:
            InputError: If the task does not detect objects.
        """
        self.check_task(task)
        empty: Batch = {**batch, "classes": batch["classes"].new_full(batch["classes"].shape, -1)}
        return lambda image, streams: self.sign * task.image_loss(purify(image, streams), empty)


class Disappearance(_NoObjects):
    """Have a detector find nothing: its losses on an image without objects fall.

    The vanishing attack of TOG (Chow et al., ESORICS 2020 and IEEE TPS 2020, arXiv 2004.04320).
    """

    sign = -1


class FalseAlarm(_NoObjects):
    """Have a detector find objects everywhere: its losses on an image without objects rise.

    The fabrication attack of TOG (Chow et al., ESORICS 2020 and IEEE TPS 2020, arXiv 2004.04320).
    """

    sign = 1
