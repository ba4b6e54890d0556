"""Work that jobs take from one folder as they go, by files that only one of them can create."""

import os
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self
from uuid import uuid4

from dds.runs.whole_file import PARTIAL, writing

BEAT = 15.0
"""Seconds after which a job shows again that it lives."""

SILENCE = 120.0
"""Seconds without such a sign after which it is dead; network file systems show one up to 60 seconds late."""

_CLAIM = f".claim{PARTIAL}"


class Claims:
    """What a job has taken upon itself, of work that any number of jobs share.

    Work has numbers, such as an image's index. A claim is a file `<work>.<n>.claim.partial` that says whose
    it is; the highest n counts. A job that lives touches a file of its own. Where that is gone, or old by the
    clock of the file system, what the job held is taken by creating n + 1, which again only one job can.
    Claims of what is done stay, so that a job whose view of the folder is out of date cannot take it.

    Args:
        folder: Where the files lie; it must be there when something is taken.
        is_left: Whether some work is yet to be done; asked once this job has what another one held before.

    Attributes:
        done: Of what this job took, that which is done.
    """

    def __init__(self, folder: Path, is_left: Callable[[int], bool] = lambda work: True) -> None:
        self._folder, self._is_left = folder, is_left
        self._id = uuid4().hex
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None
        self._next: dict[int, int] = {}  # the n by which work that was free can be taken
        self._latest: dict[int, int] = {}  # the highest n of each claim, as last seen
        self._own: dict[int, int] = {}
        self.done: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.give_back()

    def free(self, works: Collection[int]) -> set[int]:
        """Return what of some work no living job holds; only that can be taken."""
        self._latest = self._see()
        claimed = {work: self._latest[work] for work in works if work in self._latest}
        signs = {work: self._sign_of(self._path(work, number)) for work, number in claimed.items()}
        living = self._recent(set(signs.values()))
        self._next = {work: self._latest.get(work, -1) + 1 for work in works if signs.get(work) not in living}
        return set(self._next)

    def take(self, work: int) -> bool:
        """Claim some work that was free; tell whether this job has it now, and it is not done."""
        number = self._next.get(work)
        if number is None or self._latest.get(work, -1) >= number:
            return False
        if not self._create(self._path(work, number)):
            self._latest = self._see()  # other jobs are ahead: try nothing that they have
            return False
        self._own[work] = number
        return number == 0 or self._is_left(work)

    def hold(self, works: Iterable[int]) -> bool:
        """Tell whether all of this is still this job's; after a long pause others may have taken it."""
        own = {work: self._own[work] for work in works}
        return all(
            self._path(work, number).exists() and not self._path(work, number + 1).exists()
            for work, number in own.items()
        )

    def give_back(self) -> None:
        """Let others have what is not done."""
        self._ended.set()
        for work in self._own.keys() - self.done:
            if (number := self._own.pop(work)) == 0:  # higher ones tell those below that they have lost
                self._path(work, number).unlink(missing_ok=True)
        self._sign(self._id).unlink(missing_ok=True)

    def _see(self) -> dict[int, int]:
        latest: dict[int, int] = {}
        for path in self._folder.glob(f"*{_CLAIM}"):
            work, number = map(int, path.name.removesuffix(_CLAIM).split("."))
            latest[work] = max(latest.get(work, -1), number)
        return latest

    def _create(self, path: Path) -> bool:
        with suppress(FileNotFoundError):  # of the folder, which another job has merged
            self._live()
            with writing(path), suppress(FileExistsError, FileNotFoundError), path.open("x") as file:
                file.write(self._id)
                return True
        return False

    def _sign_of(self, claim: Path) -> Path:
        """Return the file that its job touches; of a claim in which nobody stands yet, itself."""
        with suppress(FileNotFoundError):
            if job := claim.read_text():
                return self._sign(job)
        return claim

    def _recent(self, signs: Collection[Path]) -> set[Path]:
        """Return those that were touched not long ago."""
        recent: set[Path] = set()
        if not signs:
            return recent
        with suppress(FileNotFoundError):  # of the folder, which another job has merged
            self._live()
            os.utime(own := self._sign(self._id))
            since = own.stat().st_mtime - SILENCE
            for sign in signs:
                with suppress(FileNotFoundError):  # of a job that has ended
                    if sign.stat().st_mtime >= since:
                        recent.add(sign)
        return recent

    def _live(self) -> None:
        """Show that this job lives, from now on."""
        if self._beating is None:
            self._sign(self._id).touch()
            self._beating = threading.Thread(target=self._beat, daemon=True)
            self._beating.start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):  # it may go the next time
                os.utime(self._sign(self._id))

    def _sign(self, job: str) -> Path:
        return self._folder / f"{job}.alive{PARTIAL}"

    def _path(self, work: int, number: int) -> Path:
        return self._folder / f"{work}.{number}{_CLAIM}"
