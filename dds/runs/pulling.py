"""Jobs that take images as they go, so that any number of them may join and leave."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from rich.console import Console

from dds.numbers import number_of_images
from dds.runs.claims import Claims
from dds.runs.grid import Cells, Grid, Piece
from dds.runs.run_folder import RunFolder
from dds.runs.samples import read_keys

PAUSE = 5.0
"""Seconds between two looks at what other jobs do."""

_MERGING = -1
"""What stands for merging among the numbers of images that jobs claim."""


class Pulling:
    """What one job takes of a run from which others take, too.

    Args:
        folder: Of the run.
        grid: All there is to measure in it.
        own: `[C, I]`, what this job may take.
        console: Where it says what it waits for.
    """

    def __init__(self, folder: RunFolder, grid: Grid, own: Cells, console: Console) -> None:
        self._folder, self._grid, self._console = folder, grid, console
        self._left = own
        self._read: set[str] = set()
        self._place = {image: place for place, image in enumerate(grid.images)}
        self._came_late = not self._look().any()

    def walks(self) -> Generator[tuple[list[Piece], Claims], None, None]:
        """Yield what no living job holds, and what to claim it by, until all is measured.

        Between two walks nothing is claimed, and those are waited for that hold the rest.
        """
        is_told = False
        while (left := self._look()).any():
            images = np.array(self._grid.images)[left.any(axis=0)].tolist()
            with Claims(self._folder.board(), partial(self._is_untouched, left)) as claims:
                if free := claims.free(images):
                    yield self._grid.pieces(left & np.isin(self._grid.images, list(free))), claims
            if not free:
                if not is_told:
                    self._console.print(
                        f"Waiting for {number_of_images(len(images))} that other jobs are measuring."
                    )
                time.sleep(PAUSE)
            is_told = not free

    @contextmanager
    def merging(self) -> Iterator[bool]:
        """Tell whether this is the job to merge what is measured, and have others wait for it meanwhile."""
        folder = self._folder
        folder.look()
        if self._came_late and not folder.is_open():
            yield not folder.summary.is_file()  # else somebody was killed before writing it
            return
        with Claims(folder.board()) as claims:
            while folder.is_open():
                if claims.free([_MERGING]) and claims.take(_MERGING):
                    folder.look()
                    if merged := folder.is_merged(self._grid):
                        folder.clear()
                    yield not merged
                    return
                time.sleep(PAUSE)
        yield False

    def _look(self) -> Cells:
        """Find what is yet to be measured, `[C, I]`; of the parts only those are read that are new."""
        self._folder.look()
        if self._folder.samples.is_file():
            rows = self._folder.read(self._grid)
        else:
            rows = read_keys(path for path in self._folder.part_files() if path.name not in self._read)
        self._left = self._left & self._grid.missing(rows)
        self._read.update(rows["part"].unique().to_pylist())
        return self._left

    def _is_untouched(self, left: Cells, image: int) -> bool:
        """Tell whether all of an image is still to be measured that was so once."""
        place = self._place[image]
        return np.array_equal(self._look()[:, place], left[:, place])
