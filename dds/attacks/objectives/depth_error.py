from dds.attacks.objectives.base import AttackedTask, Objective, Purify, Value
from dds.batch import Batch


class RootMeanSquareError(Objective):
    """The error that depth is scored by, over each image's known pixels.

    Unlike the task's own loss it knows the range that is measured: a pixel whose depth has left it can do no
    more harm, and does not draw the attack away from the others.
    """

    about_answers = True

    serves = ("depth",)

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the RMSE of each image.

        Raises:
            InputError: If the task does not estimate depth.
        """
        self.check_task(task)
        return lambda image, streams: task.statistics(task.decide(task(purify(image, streams))), batch)[
            "rmse"
        ]
