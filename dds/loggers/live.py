import time
from collections.abc import Iterator
from itertools import takewhile
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer

from dds.callbacks import NetworkProgress
from dds.callbacks.progress import expected_batches
from dds.loggers.courier import Courier
from dds.loggers.dashboard import SECONDS, Numbers, running
from dds.loggers.loggers import Loggers, dashboards
from dds.results.layout import Summary
from dds.runs import ResultsWriter
from dds.runs.grid import Piece
from dds.runs.job import Job
from dds.tasks import BaseTask

_PAUSE = 30.0  # seconds at least from one row to the next
_TIMES = 60.0  # the time that a row cost is at least so often spent on the work before the next
_PATIENCE = 400.0  # seconds; W&B takes 30 to begin, 60 for another job to let go, 300 to send
_HASTE = 3.0  # seconds, where the process was told to end


class Live(Callback):
    """Tells dashboards of a run: settings and plan when the work begins, how far it is, and its results.

    The work begins with the first batch after the rehearsal, so that a failed start leaves nothing. The first
    process speaks for all. What this takes of its time is computing the row: at most a second a minute.

    Args:
        loggers: Where to.
        project: The project on W&B, where `loggers` is true.
        job: What is measured.
        writer: What keeps the results.
        progress: What counts network calls.
    """

    def __init__(
        self, loggers: Loggers, project: str, job: Job, writer: ResultsWriter, progress: NetworkProgress
    ) -> None:
        self._dashboards = dashboards(loggers, project)
        self._job, self._writer, self._progress = job, writer, progress
        self._couriers: list[Courier] = []
        self._since = self._due = self._began = 0.0
        self._processes = 1

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Begin, if that is the first batch."""
        if trainer.is_global_zero:
            self._processes = trainer.world_size
            self._begin()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Tell how far the work is, if that is due."""
        started = time.monotonic()
        if self._couriers and started >= self._due:
            share = (batch_idx + 1) / expected_batches(trainer)
            row = self._row(cast(BaseTask, pl_module).running()) | self._pace(share)
            for courier in self._couriers:
                courier.bring(row)
            ended = time.monotonic()
            self._due = ended + max(_PAUSE, _TIMES * (ended - started))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the run so that it can be gone on with."""
        self.stop()

    def end(self, summary: Summary | None) -> Iterator[str]:
        """Show the results, and end; the last row is the summary's own.

        Args:
            summary: The content of `summary.json`; None: other jobs have yet to measure.

        Yields:
            One line for the user, of each dashboard.
        """
        row = None
        if summary is not None:
            self._begin()
            metrics = {entry["key"]: entry["metrics"] for entry in summary["conditions"]}
            row = self._row(metrics) | {"progress/share": 1.0, "progress/seconds_left": 0.0}
        for courier in self._couriers:
            courier.end(True, summary, row)
        yield from self._wait(_PATIENCE)

    def stop(self) -> None:
        """End at once, if that has not been done."""
        for courier in self._couriers:
            courier.end(success=False)
        for _ in self._wait(_HASTE):
            pass

    def _wait(self, seconds: float) -> Iterator[str]:
        until = time.monotonic() + seconds
        while self._couriers:
            yield self._couriers[0].wait(max(0.0, until - time.monotonic()))
            del self._couriers[0]

    def _begin(self) -> None:
        """Tell each dashboard, once, of settings and plan."""
        folder, plan = self._writer.folder, cast(dict[str, Any], self._writer.plan)
        if self._dashboards:
            if self._writer.go_on:
                self._job.remember(folder)
            self._since, self._began = time.monotonic(), folder.config.stat().st_mtime
        for dashboard in self._dashboards:
            self._couriers.append(Courier(dashboard, folder, plan["head"], self._job.grid.keys))
        self._dashboards = []

    def _row(self, metrics: Any) -> Numbers:
        """Return the running values of each condition, the loss of attacks, network calls and the time."""
        attacks = [one.key for one in self._job.grid.conditions if one.attack in self._job.protocol.attacks]
        losses = [metrics.get(key, {}).get("loss", {}).get("value") for key in attacks]
        known = [loss for loss in losses if loss is not None]
        return {
            SECONDS: max(0.0, time.time() - self._began),
            "progress/calls": self._progress.calls * self._processes,
            **({"progress/attack_loss": sum(known) / len(known)} if known else {}),
            **running(metrics, self._job.task.utility),
        }

    def _pace(self, share: float) -> Numbers:
        """Return how far this command is, and how fast; an image counts when all its conditions are done.

        Where jobs take images as they go, what the others have taken counts, too: it is no longer to be done.

        Args:
            share: Of the piece at work, how much is done.
        """
        pieces = self._job.pieces
        mine, todo = int(self._job.own.sum()), _cells(pieces)
        at_work = self._writer.piece
        before = list(takewhile(lambda piece: piece is not at_work, pieces)) if at_work in pieces else []
        done = _cells(before) + share * _cells([at_work] if at_work else [])
        seconds, images = time.monotonic() - self._since, int(self._job.own.any(axis=0).sum())
        pace = {"progress/share": 1 - (todo - done) / mine}
        if done:
            pace["progress/images_per_second"] = done / mine * images / seconds
            pace["progress/seconds_left"] = (todo - done) / done * seconds
        return pace


def _cells(pieces: list[Piece]) -> int:
    return sum(len(piece.conditions) * len(piece.images) for piece in pieces if piece.rows)
