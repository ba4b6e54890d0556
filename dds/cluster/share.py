import os
from collections.abc import Callable

from submitit.helpers import Checkpointable

from dds.command_line.mistakes import explain
from dds.errors import InputError


class Share(Checkpointable):
    """What one job does: a command line that takes images of a run until none is left.

    When its time is over, or it is preempted, submitit requeues it as it is, and it goes on with what is
    left: what was measured is in the run's folder.

    Args:
        work: What carries a command line out.
        command: The command line.
        device: The one that it shall see, as in CUDA_VISIBLE_DEVICES; None: those of the cluster's choice.
    """

    def __init__(
        self, work: Callable[[list[str]], None], command: list[str], device: str | None = None
    ) -> None:
        self.work, self.command, self.device = work, command, device

    def __call__(self) -> None:
        """Carry it out.

        Raises:
            InputError: In the place of any error that users can mend, without the way it came.
        """
        if self.device is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.device
        try:
            self.work(self.command)
        except Exception as error:
            if (message := explain(error)) is None:
                raise
            raise InputError(message) from None
