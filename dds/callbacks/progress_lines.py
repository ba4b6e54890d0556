import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

_PAUSE = 10.0  # seconds


class ProgressLines(ProgressBar):
    """Progress of a training where a bar cannot move, in a file or a pipe.

    There is a line after the first step, every ten seconds, after each validation and after the last step.
    """

    def __init__(self) -> None:
        super().__init__()
        self._start = self._last = 0.0
        self._speaks = True

    def disable(self) -> None:
        """Be silent, as processes other than the first are."""
        self._speaks = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()
        self._last = self._start - _PAUSE

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say how far it is, if that is due."""
        done = trainer.global_step >= trainer.estimated_stepping_batches
        if done or time.monotonic() - self._last >= _PAUSE:
            self._say(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what the validation found."""
        if not trainer.sanity_checking:
            self._say(trainer, pl_module)

    def _say(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._speaks:
            return
        self._last = time.monotonic()
        measured = {**self.get_metrics(trainer, pl_module)}
        measured.pop("v_num", None)  # of the logger, not of the training
        values = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in measured.items()
        )
        steps, seconds = trainer.estimated_stepping_batches, self._last - self._start
        print(f"Step {trainer.global_step} of {steps} after {seconds:.0f} s: {values}", flush=True)
