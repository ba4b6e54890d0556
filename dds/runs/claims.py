"""Work that jobs take from one folder as they go, by files that only one of them can create."""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Self
from uuid import uuid4

from filelock import Timeout

from dds.runs.board import Board
from dds.whole_file import PARTIAL

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
        board: Where the files lie; it must be there when something is taken.
        is_left: Whether some work is yet to be done; asked once this job has what another one held before.

    Attributes:
        done: Of what this job took, that which is done.
    """

    def __init__(self, board: Board, is_left: Callable[[int], bool] = lambda work: True) -> None:
        self._board, self._is_left = board, is_left
        self._id = uuid4().hex
        self._sign = _sign(self._id)
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
        claims = {work: _claim(work, self._latest[work]) for work in works if work in self._latest}
        signs = self._signs(claims)
        living = self._recent(set(signs.values()))
        self._next = {work: self._latest.get(work, -1) + 1 for work in works if signs.get(work) not in living}
        return set(self._next)

    def take(self, work: int) -> bool:
        """Claim some work that was free; tell whether this job has it now, and it is not done."""
        number = self._next.get(work)
        if number is None or self._latest.get(work, -1) >= number:
            return False
        if not (self._live() and self._board.create(_claim(work, number), self._id)):
            self._latest = self._see()  # other jobs are ahead: try nothing that they have
            return False
        self._own[work] = number
        return number == 0 or self._is_left(work)

    def hold(self, works: Iterable[int]) -> bool:
        """Tell whether all of this is still this job's; after a long pause others may have taken it."""
        own = [(work, self._own[work]) for work in works]
        mine, others = ({_claim(work, n + more) for work, n in own} for more in (0, 1))
        return self._board.read(mine | others).keys() == mine

    def give_back(self) -> None:
        """Let others have what is not done."""
        self._ended.set()
        left = {work: self._own.pop(work) for work in self._own.keys() - self.done}
        mine = [_claim(work, 0) for work, number in left.items() if number == 0]
        # higher claims tell those below that they have lost
        self._board.remove([*mine, self._sign] if self._beating else mine)

    def _see(self) -> dict[int, int]:
        latest: dict[int, int] = {}
        for name in self._board.names():
            if name.endswith(_CLAIM):
                work, number = map(int, name.removesuffix(_CLAIM).split("."))
                latest[work] = max(latest.get(work, -1), number)
        return latest

    def _signs(self, claims: dict[int, str]) -> dict[int, str]:
        """Return the files that their jobs touch; of claims in which nobody stands yet, themselves."""
        jobs = self._board.read(claims.values())
        return {work: _sign(jobs[claim]) if jobs.get(claim) else claim for work, claim in claims.items()}

    def _recent(self, signs: set[str]) -> set[str]:
        """Return those that were touched not long ago."""
        if not (signs and self._live()):
            return set()
        with suppress(OSError):  # of the board, which another job has taken away
            self._board.touch(self._sign)
        times = self._board.times(signs | {self._sign})
        since = times.get(self._sign, float("inf")) - SILENCE
        return {sign for sign in signs if times.get(sign, float("-inf")) >= since}

    def _live(self) -> bool:
        """Show that this job lives, from now on; tell whether there is a board to show it on."""
        if self._beating is None and self._board.create(self._sign):
            self._beating = threading.Thread(target=self._beat, daemon=True)
            self._beating.start()
        return self._beating is not None

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):  # it may go the next time
                self._board.touch(self._sign)


class Lease:
    """A lock that lies on a board and is given up when its job ends or is silent; used as a `FileLock`.

    Args:
        board: Where it lies.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._claims: Claims | None = None

    def acquire(self, timeout: float) -> None:
        """Take it within so many seconds.

        Raises:
            filelock.Timeout: If another job has it.
        """
        until = time.monotonic() + timeout
        claims = Claims(self._board)
        while not (claims.free([0]) and claims.take(0)):
            if time.monotonic() >= until:
                claims.give_back()
                raise Timeout("the lease")
            time.sleep(1)
        self._claims = claims

    def release(self) -> None:
        """Let others have it."""
        if self._claims is not None:
            self._claims.give_back()


def _sign(job: str) -> str:
    return f"{job}.alive{PARTIAL}"


def _claim(work: int, number: int) -> str:
    return f"{work}.{number}{_CLAIM}"
