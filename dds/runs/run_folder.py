import itertools
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from dds.errors import InputError
from dds.runs.examples import join_examples, names_of
from dds.runs.grid import Cells, Grid, Piece
from dds.runs.merging import TemporaryFolder, lay_out, write_merged
from dds.runs.run_files import RunFiles
from dds.runs.same_work import difference
from dds.runs.samples import Samples, Spent, is_whole, read_keys, spent_on
from dds.whole_file import PARTIAL, writing

SCHEMA = 1
"""The layout of a run folder's files; `summary.json` names it."""

PATIENCE = 90.0
"""Seconds until a file of another machine is given up; network file systems show it up to 60 seconds late."""


class RunFolder(RunFiles):
    """`runs/<experiment>/<name>/`: where everything that a run leaves is written.

    Any number of processes on any number of machines add parts, each a file of its own; the first process of
    a job that finds everything measured merges them. Nothing is locked.

    Args:
        path: The folder.
        numbered: Whether another run may have the name already, so that this one takes the next.
    """

    def __init__(self, path: Path, numbered: bool = False) -> None:
        super().__init__(path)
        self.numbered = numbered
        self._made: list[Path] = []  # what has not been there before, innermost first
        self._mark: Path | None = None  # by which other jobs see that this one is at work

    # The start

    def claimed(self) -> "RunFolder":
        """Return this folder; of a numbered one, make the first of name, name_2, … that is nobody's."""
        if not self.numbered:
            return self
        name = self.path.name
        for taken in itertools.count(1):
            folder = RunFolder(self.path.with_name(name if taken == 1 else f"{name}_{taken}"))
            with writing(folder.path), suppress(FileExistsError):
                folder._make(exist_ok=False)
                return folder
        raise AssertionError  # there is always a next number

    def prepare(self, config: str, go_on: bool = False) -> None:
        """Make the folder, or have it ready to go on with.

        Args:
            config: The complete configuration.
            go_on: Whether there may be a run of the same configuration in it.

        Raises:
            InputError: If something else is in it, or it cannot be written.
        """
        with writing(self.path):
            self._make(exist_ok=True)
            if not (self._is_empty() or (go_on and self._is_run())):
                raise self._is_taken()
            if self.config.is_file():  # of a job that may be unable to take it away, as this one is here
                self._made = self._made or [self.path]
            self.parts.mkdir(exist_ok=True)
            self.figures.mkdir(exist_ok=True)
        if not self.config.is_file():
            self._begin(config, go_on)
        self.check_same_work(config)  # two jobs may just have begun
        self._mark = self.parts / f"{uuid4().hex}{PARTIAL}"
        with writing(self._mark):
            self._mark.touch()
        self.send(self._mark)

    def _begin(self, config: str, go_on: bool) -> None:
        self.write_text(self.config, config)

    def _is_empty(self) -> bool:
        return not any(self.path.iterdir())

    def _is_taken(self) -> InputError:
        return InputError(
            f"{self.path} is not empty. Give another --name, or go on with that run by --resume."
        )

    def _make(self, exist_ok: bool) -> None:
        new = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(exist_ok=exist_ok)
        self._made += new

    def check_same_work(self, config: str) -> None:
        """Refuse to go on with a run of another task, data set or protocol, or of other weights.

        Args:
            config: The configuration now, as in `config.yaml`.

        Raises:
            InputError: Showing the difference.
        """
        self.look()
        if not self.config.is_file():
            return
        try:
            if (there := self.config.read_text()) == config:
                return
            other = difference(there, config)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self.config} is not the configuration of a run ({type(error).__name__}: {error}). Give "
                "another --name, or remove the folder."
            ) from error
        if other is not None:
            raise InputError(f"{self.path} was started with {other}")

    def wait_until_seen(self) -> None:
        """Wait until this machine sees what the first process made.

        Raises:
            InputError: If it never does.
        """
        if not _in_time(self._is_seen):
            raise InputError(
                f"{self.path} is not seen by every process; name a folder that all machines share by --runs."
            )

    def _is_seen(self) -> bool:
        return self.config.is_file() and self.parts.is_dir()

    def leave(self) -> None:
        """Let other jobs know that this one is no longer at work."""
        if self._mark is not None:
            self.drop(self._mark)

    def discard_if_unused(self) -> None:
        """Remove the folder, and those made for it, if nothing was measured and no other job is at work."""
        if self._mark is None and not self._made:
            return
        self.leave()
        ours = {self.parts, self.figures, self.config, self.plan, self.wandb, self.attacked}
        if set(self.path.glob("*")) - ours:
            return
        with suppress(OSError):  # one of them is not empty
            for folder in (self.parts, self.figures):
                if folder.is_dir():
                    folder.rmdir()
            for folder in (self.wandb, self.attacked):
                shutil.rmtree(folder, ignore_errors=True)
            for file in (self.plan, self.config):
                file.unlink(missing_ok=True)
            for folder in self._made:
                folder.rmdir()

    # What is measured

    def read(self, grid: Grid) -> pa.Table:
        """Read which rows there are: of the merged tables if they are complete, else of the parts.

        The parts are read first: another job may be merging, which removes them when the tables are there.

        Returns:
            What `read_keys` does.
        """
        self.look()
        parts = read_keys(self.part_files())
        merged = read_keys([self.samples, self.votes])
        return parts if grid.missing(merged).any() else merged

    def pieces(self, grid: Grid, own: Cells) -> list[Piece]:
        """List what is yet to be measured of some cells, `[C, I]`."""
        missing = grid.missing(self.read(grid))
        lost = self._lost_examples(grid, own[:, 0] & ~missing[:, 0])
        return grid.pieces(missing & own) + ([grid.piece(lost, grid.images[:1], rows=False)] if lost else [])

    def collect(self, grid: Grid, own: Cells) -> pa.Table:
        """Read which rows there are, once those are seen that the processes of this job have written.

        Args:
            grid: All there is to measure.
            own: `[C, I]`, the cells of this job.

        Raises:
            InputError: Naming what is missing of them.
        """
        until = time.monotonic() + PATIENCE
        while (lacking := grid.missing(rows := self.read(grid)) & own).any():
            if time.monotonic() > until:
                raise InputError(
                    f"{self.parts} lacks {grid.describe(lacking)}, although all processes have ended. Do all "
                    "machines share this folder? --resume measures what is missing."
                )
            time.sleep(1)
        return rows

    def left(self, grid: Grid, rows: pa.Table) -> Cells:
        """Find the cells that other jobs have yet to measure, or to show examples of; `[C, I]`."""
        left = grid.missing(rows)
        left[self._lost_examples(grid, ~left[:, 0]), 0] = True
        return left

    def merge(self, grid: Grid, rows: pa.Table) -> None:
        """Turn the parts of all processes, which are complete, into the tables and `examples.npz`.

        Args:
            grid: All there is to measure.
            rows: As `collect` returns them.

        Raises:
            InputError: If a part is damaged where `collect` did not look.
        """
        if any(path.suffix != PARTIAL for path in self.parts.glob("*")):
            if not self.is_merged(grid):
                self._merge_tables(grid, rows)
            join_examples(filter(names_of, self._examples()), self.examples)
        self.clear()

    def clear(self) -> None:
        """Remove what a merged run needs no longer."""
        shutil.rmtree(self.parts, ignore_errors=True)
        for leftover in self.path.glob(f"*{PARTIAL}"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)

    def is_merged(self, grid: Grid) -> bool:
        """Tell whether the tables hold everything."""
        tables = [path for path in (self.samples, self.votes) if path.exists()]
        return not grid.missing(read_keys(tables)).any() and all(map(is_whole, tables))

    def _merge_tables(self, grid: Grid, rows: pa.Table) -> None:
        try:
            with writing(self.path), TemporaryFolder(self.path) as folder:
                samples, votes = lay_out(self.part_files(), grid.keys, folder)
                self._check_whole(rows, samples, votes)
                spent = self.spent()
                if votes is not None:
                    write_merged(votes, votes.schema, grid.keys, self.votes)
                write_merged(samples, samples.schema, grid.keys, self.samples, spent)
        except InputError:
            if not self.is_merged(grid):
                raise  # else another job has merged, and taken away what was being read

    def _check_whole(self, rows: pa.Table, *found: Samples | None) -> None:
        """Set parts aside of which less could be read than is needed.

        Raises:
            InputError: Naming them.
        """
        if sum(len(table.read(["index"])) for table in found if table is not None) == len(rows):
            return
        damaged = [path for path in self.part_files() if not is_whole(path)]
        for path in damaged:
            self._set_aside(path)
        raise InputError(
            f"{self.parts} held damaged files, which count for nothing now: "
            f"{', '.join(path.name for path in damaged)}. --resume measures their images again."
        )

    def _set_aside(self, path: Path) -> None:
        path.replace(path.with_name(path.name + PARTIAL))

    def spent(self) -> Spent:
        """Return what all processes together spent on what is measured."""
        return spent_on(self.part_files() or [self.samples])

    # What it holds

    def _is_run(self) -> bool:
        """Tell whether the folder holds a run, or what is left of one that was killed at its very start."""
        begun = (path.is_dir() or path.suffix == PARTIAL for path in self.path.rglob("*"))
        return self.config.is_file() or all(begun)

    def _lost_examples(self, grid: Grid, among: NDArray[np.bool_]) -> list[int]:
        """Find the places of conditions whose examples are not there or broken, among `[C]`."""
        found = set().union(*map(names_of, self._examples()))
        return [int(place) for place in np.flatnonzero(among) if f"shown:{grid.keys[place]}" not in found]

    def _examples(self) -> list[Path]:
        return [path for path in (self.examples, *sorted(self.parts.glob("*.npz"))) if path.exists()]


def _in_time(is_so: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > until:
            return False
        time.sleep(1)
    return True
