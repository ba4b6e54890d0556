from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from dds.runs.stopping import end_other_processes, hold, is_asked, listen, release
from dds.whole_file import writing


class Checkpoints(ModelCheckpoint):
    """Keeps the last state of a training in one file, also of one that is stopped or runs out of time.

    Before a signal ends the training, the step at hand is finished and kept. With several processes, which do
    not all hear the signal, what is kept then is the last regular checkpoint.

    Args:
        path: The file.
        every: Steps between two checkpoints.

    Attributes:
        step: The number of steps after which the training was kept, 0 if it was not.
    """

    def __init__(self, path: Path, every: int) -> None:
        super().__init__(path.parent, path.stem, every_n_train_steps=every, enable_version_counter=False)
        self.path, self.step = path, 0

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning."""
        listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning, and let nothing cut a step."""
        super().on_train_start(trainer, pl_module)
        listen()
        hold()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """End the training where that is asked; what the last step measured is logged by now."""
        if trainer.world_size > 1 or self.step == trainer.global_step:
            release()
            hold()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the training where it is time to, the end is asked for, or nothing comes after."""
        last = trainer.should_stop or trainer.global_step >= trainer.estimated_stepping_batches
        with writing(self.path):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            if last or (is_asked() and trainer.world_size == 1):
                self._keep(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the training where that is asked."""
        super().on_train_epoch_end(trainer, pl_module)
        self.on_train_batch_start(trainer, pl_module, None, 0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the training, so that a validation may be cut."""
        if not trainer.sanity_checking:
            with writing(self.path):
                self._keep(trainer)
            release()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let nothing cut the next step."""
        super().on_validation_end(trainer, pl_module)
        if not trainer.sanity_checking:
            hold()

    def _keep(self, trainer: Trainer) -> None:
        if self.step != trainer.global_step:
            trainer.save_checkpoint(self.path)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note what is kept."""
        self.step = trainer.global_step

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note what was kept."""
        self.step = checkpoint["global_step"]

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no process behind."""
        end_other_processes(trainer)
