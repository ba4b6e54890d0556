from pathlib import Path
from typing import Any, cast

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dds.batch import EXAMPLES, Record
from dds.results.run_folder import RunFolder
from dds.results.samples import records_to_table, write_parquet
from dds.tasks import BaseTask


class ResultsWriter(Callback):
    """Writes what the task measures, batch by batch.

    Every process writes its own parts, each whole or not at all; the first one does what is single.

    Args:
        folder: Where the run's files go.
        config: The complete configuration, written before the work starts.
        resume: Whether the folder is that of an interrupted run, to go on with.
    """

    def __init__(self, folder: RunFolder, config: str, resume: bool = False) -> None:
        self.folder, self.config, self.resume = folder, config, resume

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Agree on one folder and make it, before any work."""
        self.folder = RunFolder(Path(trainer.strategy.broadcast(str(self.folder.path))))
        if trainer.is_global_zero and not self.resume:
            self.folder.create()
            self.folder.write_text(self.folder.config, self.config)
        trainer.strategy.barrier()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the batch's rows, and from the first batch the examples for the figures."""
        records = cast(list[Record], outputs["records"])
        part = self.folder.parts / f"{batch['index'][0]:09d}.parquet"  # no other part has this image
        write_parquet(records_to_table(records, batch["index"][: batch.get("real")]), part)
        if trainer.is_global_zero and not self.folder.examples.exists():
            self.folder.write_examples(_examples(cast(BaseTask, pl_module), records, batch))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no folder behind when nothing was measured."""
        if trainer.is_global_zero:
            self.folder.discard_if_unused()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait until all processes have written."""
        trainer.strategy.barrier()


def _examples(task: BaseTask, records: list[Record], batch: Any) -> dict[str, Any]:
    """Return, for the first draw of each condition, what a figure needs: `<what>:<condition>`."""
    shown = min(EXAMPLES, batch.get("real", EXAMPLES))
    first: Any = {key: value[:shown].cpu() for key, value in batch.items() if isinstance(value, Tensor)}
    examples: dict[str, Any] = {"original": _to_uint8(first["image"])}
    for record in records:
        if record.draw == 0:
            shown = record.examples
            for key in record.conditions:
                examples[f"attacked:{key}"] = _to_uint8(shown["attacked"])
                examples[f"shown:{key}"] = _to_uint8(shown["shown"])
                examples[f"decision:{key}"] = np.array(task.render(shown["decision"], first))
    return examples


def _to_uint8(image: Any) -> Any:
    return (image.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()  # (n, H, W, 3)
