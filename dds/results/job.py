from lightning.pytorch import Trainer
from rich.console import Console

from dds.callbacks import AttackAndPurify
from dds.data import BaseDataModule
from dds.protocol import Plan
from dds.results.division import own_cells
from dds.results.grid import Grid, Piece
from dds.results.run_folder import RunFolder
from dds.results.writer import ResultsWriter
from dds.tasks import BaseTask


class Job:
    """One command's part of a run: it measures what of it is not measured yet.

    Args:
        task: The task.
        data: The test images.
        protocol: The conditions.
        share: `2/5`, the second of five shares of the images; None: all.
        conditions: Patterns of keys, `clean/*,pgd/*`; None: all.

    Attributes:
        grid: All there is to measure in the run.

    Raises:
        InputError: If there are no such images or conditions.
    """

    def __init__(
        self,
        task: BaseTask,
        data: BaseDataModule,
        protocol: AttackAndPurify,
        share: str | None = None,
        conditions: str | None = None,
    ) -> None:
        self.task, self.data, self.protocol = task, data, protocol
        self.grid = Grid(protocol.plan.conditions, data.test_dataset().indices)
        self._own = own_cells(self.grid, share, conditions)

    def measure(self, trainer: Trainer, writer: ResultsWriter) -> None:
        """Measure, and leave parts in the run folder.

        Args:
            trainer: With protocol and writer among its callbacks.
            writer: What writes the parts.

        Raises:
            InputError: If the folder holds another run.
        """
        whole, folder = self.protocol.plan, writer.folder
        folder.check_same_work(writer.config)
        for piece in folder.pieces(self.grid, self._own) if writer.go_on else self.grid.pieces(self._own):
            self._prepare(piece, trainer)
            writer.piece = piece
            trainer.test(self.task, self.data, verbose=False)
        self.protocol.plan = whole

    def merge(self, folder: RunFolder) -> bool:
        """Merge what all jobs have measured; or, false, say what is left to the others.

        Raises:
            InputError: If something is missing that this job has measured, or is there twice.
        """
        rows = folder.collect(self.grid, self._own)
        if (left := folder.left(self.grid, rows)).any():
            Console().print(
                f"This part is done; other jobs have yet to measure {self.grid.describe(left)}. The last one "
                "writes the summary. If one died, start it again, or measure all that is left by --resume."
            )
            return False
        folder.merge(self.grid, rows)
        return True

    def _prepare(self, piece: Piece, trainer: Trainer) -> None:
        """Set up a piece; clean images come first, since the task compares the others to them."""
        self.protocol.plan = Plan.of(dict.fromkeys([self.grid.conditions[0], *piece.conditions]))
        self.data.finished = self.grid.others(piece.images, trainer.world_size)
        if trainer.is_global_zero:
            counts = f"{len(piece.images)} of {len(self.grid.images)} images"
            Console().print(self.protocol.describe(), counts)
