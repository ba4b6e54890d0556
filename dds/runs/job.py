from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict
from typing import Any

from lightning.pytorch import Trainer
from rich.console import Console
from torch import nn

from dds.callbacks import AttackAndPurify
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.models.untrained import is_untrained
from dds.numbers import number_of_images
from dds.protocol import Condition, Plan
from dds.runs.division import AUTO, own_cells
from dds.runs.grid import Grid, Piece
from dds.runs.provenance import provenance
from dds.runs.pulling import Pulling
from dds.runs.run_folder import SCHEMA, RunFolder
from dds.runs.samples import to_draws
from dds.runs.writer import ResultsWriter
from dds.tasks import BaseTask
from dds.telling import told


class Job:
    """One command's part of a run: it measures what of it is not measured yet.

    Args:
        task: The task.
        data: The test images.
        protocol: The conditions.
        share: `2/5`, the second of five shares of the images; `auto`, those that no other job has taken when
            this one gets to them; None: all.
        conditions: Patterns of keys, `clean/*,pgd/*`; None: all.
        console: Where it says what it does; default: the standard output.

    Attributes:
        grid: All there is to measure in the run.
        facts: Versions of what computes, and the hash of each network's weights.
        own: `[C, I]`, what of it this job is to see to.
        pieces: What of that it measures itself, once that is known.

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
        console: Console | None = None,
    ) -> None:
        self.task, self.data, self.protocol = task, data, protocol
        self.grid = Grid(protocol.plan.conditions, data.test_dataset().indices)
        named: dict[str, nn.Module | None] = {"task": task.model, "purifier": protocol.purifier}
        named |= {name: surrogate.model for name, surrogate in protocol.surrogates.items()}
        self._networks = {name: network for name, network in named.items() if network is not None}
        self.facts = provenance(self._networks)
        self.own = own_cells(self.grid, share, conditions)
        self._pulls = share == AUTO
        self._pulling: Pulling | None = None
        self.pieces: list[Piece] = []
        self._console = console or Console()

    def with_header(self, config: str) -> str:
        """Return a configuration below lines that say what it met: versions, weights, images."""
        read = {f"of {name}": attack.identity() for name, attack in self.protocol.attacks.items()}
        images = {"images": str(len(self.grid.images)), "digest": self.data.identity()}
        images |= {name: digest for name, digest in read.items() if digest}
        levels = {str(one): f"sigma {one.level.sigma:.6g}" for one in self.protocol.defences.all if one.level}
        facts = {**self.facts, "data": images, "levels": levels}
        lines = [f"# {part}: {name} {value}" for part, said in facts.items() for name, value in said.items()]
        return "\n".join([*lines, config])

    def measure(self, trainer: Trainer, writer: ResultsWriter) -> None:
        """Measure, and leave parts in the run folder.

        Args:
            trainer: With protocol and writer among its callbacks.
            writer: What writes the parts.

        Raises:
            InputError: If the folder holds another run, or several processes are to take images as they go.
        """
        if self._pulls and trainer.world_size > 1:
            raise InputError(
                f"--share={AUTO} with {trainer.world_size} processes; expected one in each job. Start a job "
                "for each device, with --trainer.devices=1."
            )
        self.task.start_over()
        self.pieces = []
        whole, folder = self.protocol.plan, writer.folder
        folder.check_same_work(writer.config)
        writer.plan, writer.known = self._plan(), self.protocol.known
        try:
            if self._pulls:
                self._pull(trainer, writer)
            else:
                pieces = folder.pieces(self.grid, self.own) if writer.go_on else self.grid.pieces(self.own)
                self._do(pieces, trainer, writer)
        finally:
            self.task.goes_on = False
        self.protocol.plan = whole

    def _do(self, pieces: list[Piece], trainer: Trainer, writer: ResultsWriter) -> None:
        self.pieces += pieces
        for piece in pieces:
            self._prepare(piece, trainer)
            writer.piece = piece
            trainer.test(self.task, self.data, verbose=False)
            self.task.goes_on = True

    def _pull(self, trainer: Trainer, writer: ResultsWriter) -> None:
        """Measure what no other job has, until all is measured; what this one claimed ends with it."""
        self._pulling = Pulling(writer.folder, self.grid, self.own, self._console)
        images = 0
        with closing(self._pulling.walks()) as walks:
            for pieces, claims in walks:
                writer.claims, self.data.take = claims, claims.take
                self._do(pieces, trainer, writer)
                images += len(claims.done)
        writer.claims = self.data.take = None
        self._console.print(f"This job measured {images} of {len(self.grid.images)} images.")

    def remember(self, folder: RunFolder) -> None:
        """Have the running values begin with what is there, for who looks at them."""
        with suppress(InputError):  # another job may be merging; nobody's results hang on it
            samples, _ = folder.open_tables(self.grid.keys)
            for condition in self.grid.conditions:
                if len(rows := samples.of(condition.key)):
                    self.task.update(condition.key, *to_draws(rows))

    def merge(self, folder: RunFolder) -> bool:
        """Merge what all jobs have measured; or, false, say what is left to the others.

        Raises:
            InputError: If something is missing that this job has measured, or is there twice.
        """
        with self._pulling.merging() if self._pulling else nullcontext(True) as first:
            if first:
                return self._merge(folder)
        self._console.print("All is measured; another job writes the summary.")
        return False

    def _merge(self, folder: RunFolder) -> bool:
        rows = folder.collect(self.grid, self.own)
        if (left := folder.left(self.grid, rows)).any():
            self._console.print(
                f"This part is done; other jobs have yet to measure {self.grid.describe(left)}. The last one "
                "writes the summary. If one died, start it again, or measure all that is left by --resume."
            )
            return False
        folder.merge(self.grid, rows)
        return True

    def each_condition(self, work: str) -> Iterator[Condition]:
        """Yield all conditions and show how many are done."""
        return told(self.grid.conditions, work, self._console, "conditions")

    def head(self) -> dict[str, Any]:
        """Return what a summary says of a run before anything is measured."""
        task, protocol = self.task, self.protocol
        return {
            "schema": SCHEMA,
            "task": type(task).__name__,
            "data": self.data.source.__name__,
            "images": len(self.grid.images),
            "seed": protocol.seed,
            "utility": task.utility,
            "score": task.score,
            "lower_is_better": task.lower_is_better,
            **self.facts,
            "untrained": [name for name, network in self._networks.items() if is_untrained(network)],
            "attack_precision": protocol.attack_precision,
            "attacks": {
                name: {"norm": attack.norm, "eps": attack.eps, "gradient": attack.needs_gradient}
                for name, attack in protocol.attacks.items()
            },
            "calls": None if protocol.is_open else asdict(protocol.cost),
            **({"mask_names": list(self.data.mask_names)} if task.target == "mask" else {}),
            "purification_calls": {str(one): protocol.defences.calls(one) for one in protocol.defences.all},
        }

    def _plan(self) -> dict[str, Any]:
        conditions = [asdict(condition) for condition in self.grid.conditions]
        return {"head": self.head(), "indices": self.grid.images, "conditions": conditions}

    def _prepare(self, piece: Piece, trainer: Trainer) -> None:
        """Set up a piece; clean images come first, since the task compares the others to them."""
        self.protocol.plan = Plan.of(dict.fromkeys([self.grid.conditions[0], *piece.conditions]))
        self.data.finished = self.grid.others(piece.images, trainer.world_size)
        if trainer.is_global_zero:
            counts = f"{number_of_images(len(piece.images))}, of {len(self.grid.images)} in all."
            what = "Images are claimed as this job goes, from" if self._pulls else "Now measuring"
            self._console.print(self.protocol.describe(self.task.doubts), f"{what} {counts}")
