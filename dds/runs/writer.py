import time
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
from lightning.pytorch import Callback, LightningModule, Trainer

from dds.batch import Record
from dds.errors import InputError
from dds.runs.claims import Claims
from dds.runs.examples import examples_of, write_examples
from dds.runs.grid import Piece
from dds.runs.places import open_folder
from dds.runs.run_folder import RunFolder
from dds.runs.samples import Spent, records_to_table, write_parquet
from dds.runs.stopping import end_other_processes, listen
from dds.store import KnownCrafts
from dds.whole_file import PARTIAL


class ResultsWriter(Callback):
    """Writes what the task measures, batch by batch.

    Every process writes its own parts, each whole or not at all; the first one does what is single.

    Args:
        folder: Where the run's files go.
        config: The complete configuration, written before the work starts.
        go_on: Whether there may be a run of the same configuration in the folder.

    Attributes:
        piece: What is kept of what comes; None: all.
        plan: The content of `plan.json`; None: there is none.
        claims: What this job has taken of a run that others take from, too; None: it shares nothing.
        known: Where attacked images come from that were made before; None: from nowhere.
    """

    def __init__(self, folder: RunFolder, config: str, go_on: bool = False) -> None:
        self.folder, self.config, self.go_on = folder, config, go_on
        self.piece: Piece | None = None
        self.plan: dict[str, Any] | None = None
        self.claims: Claims | None = None
        self.known: KnownCrafts | None = None
        self._found = 0  # of these, so far
        self._since = time.monotonic()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Agree on one folder and make it, before any work.

        Raises:
            InputError: If the processes are not about the same, or do not see the same folder.
        """
        if trainer.is_global_zero:
            self.folder = self.folder.claimed()
        place, *first = trainer.strategy.broadcast((self.folder.place, self.config, self.piece))
        if first != [self.config, self.piece]:
            raise InputError(
                f"process {trainer.global_rank} has other settings, networks, data or results before it than "
                "process 0; expected the same files on all machines. If one of them has just been written, "
                "wait a minute and start again with --resume."
            )
        if not trainer.is_global_zero:
            self.folder = open_folder(place)
        else:
            self.folder.prepare(self.config, self.go_on)
            if self.plan is not None:
                self.folder.write_plan(self.plan)
        trainer.strategy.barrier()
        self.folder.wait_until_seen()
        self._since = time.monotonic()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning."""
        listen()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the batch's rows, and before those of the first image its examples for the figures."""
        records = cast(list[Record], outputs["records"])
        everything = records_to_table(records, batch["index"][: batch.get("real")])
        if self._is_ours(everything):
            if trainer.is_global_zero and self._shows_examples(everything, batch_idx):
                path = self.folder.parts / f"{_name(everything)}.npz"
                write_examples(examples_of(records, batch), path)
                self.folder.send(path)
            if len(rows := self._kept(everything)):
                self._write(rows, self.folder.parts / f"{_name(rows)}.parquet")
        self._since = time.monotonic()

    def _shows_examples(self, rows: pa.Table, batch_idx: int) -> bool:
        if self.piece is None:
            return batch_idx == 0
        return self.piece.examples and bool(rows["index"][0].as_py() == self.piece.images[0])

    def _is_ours(self, rows: pa.Table) -> bool:
        """Tell whether no other job has taken the images meanwhile, as if this one were dead."""
        return self.claims is None or self.claims.hold(rows["index"].unique().to_pylist())

    def _write(self, rows: pa.Table, path: Path) -> None:
        """Write a part; give it its name only if the images are still this job's when all is on the disk."""
        spent = self._spent()
        if self.claims is None:
            write_parquet(rows, path, spent)
            self.folder.send(path)
            return
        nameless = path.with_name(f"{path.name}.{uuid4().hex}{PARTIAL}")
        write_parquet(rows, nameless, spent)
        self.folder.send(nameless)
        if self._is_ours(rows):
            self.claims.done.update(rows["index"].unique().to_pylist())  # first: a signal may cut this
            self.folder.name_part(nameless, path)
        else:
            self.folder.drop(nameless)

    def _spent(self) -> Spent:
        """Return what this batch took."""
        before, self._found = self._found, self.known.found if self.known else 0
        return Spent(time.monotonic() - self._since, self._found - before)

    def _kept(self, rows: pa.Table) -> pa.Table:
        """Leave out what is computed by the way: clean images for comparison, images to occupy a process."""
        if self.piece is None:
            return rows
        keys = [condition.key for condition in self.piece.conditions if self.piece.rows]
        of_condition = pc.is_in(rows["condition"], pa.array(keys, pa.string()))
        images = self.piece.members.intersection(rows["index"].unique().to_pylist())
        of_image = pc.is_in(rows["index"], pa.array(images, pa.int64()))
        return rows.filter(pc.and_(of_condition, of_image))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no process and, when nothing was measured, no folder behind."""
        end_other_processes(trainer)
        if self.claims is not None:
            self.claims.give_back()
        if trainer.is_global_zero:
            self.folder.discard_if_unused()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait until all processes have written."""
        trainer.strategy.barrier()
        self.folder.leave()


def _name(rows: pa.Table) -> str:
    """Name a part after its first image and its conditions: no other part has both."""
    keys = "\n".join(rows["condition"].unique().to_pylist())
    return f"{rows['index'][0].as_py():09d}-{blake2b(keys.encode(), digest_size=4).hexdigest()}"
