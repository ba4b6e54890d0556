"""Telling people who wait how far it is."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import Progress, ProgressColumn

Item = TypeVar("Item")
Covariant = TypeVar("Covariant", covariant=True)

_PAUSE = 60.0  # seconds between two lines
_FRAME = 0.5  # seconds between two pictures of a bar in a notebook


class Bar(Progress):
    """A progress bar that moves in a terminal, and in a notebook, and is not shown in a file or a pipe.

    In a notebook Rich itself draws by ipywidgets; this one is an output that is replaced as the work goes on,
    which every front end shows and a saved notebook keeps.

    Args:
        *columns: What it shows; default: Rich's.
        console: Where.
        transient: Whether it is taken away at the end.
    """

    def __init__(self, *columns: ProgressColumn, console: Console, transient: bool = False) -> None:
        super().__init__(*columns, console=console, transient=transient)
        self.moves = console.is_terminal or console.is_jupyter
        self._output: Any = None
        self._drawn = time.monotonic()

    def start(self) -> None:
        """Show it in a terminal; in a notebook that comes when the work has lasted."""
        if self.console.is_terminal:
            super().start()

    def update(self, *task: Any, **changes: Any) -> None:
        """Change a task, as Rich's does."""
        super().update(*task, **changes)
        if self.console.is_jupyter and time.monotonic() - self._drawn > _FRAME:
            self._draw(self)

    def stop(self) -> None:
        """Show the end, or nothing."""
        if self.console.is_terminal:
            super().stop()
        elif self._output:
            self._draw({} if self.live.transient else self, raw=self.live.transient)

    def _draw(self, shown: Any, raw: bool = False) -> None:
        from IPython.display import display

        self._drawn = time.monotonic()
        if self._output:
            self._output.update(shown, raw=raw)
        elif not self.console.quiet:
            self._output = display(shown, display_id=True)


class Counted(Protocol[Covariant]):
    """What can be gone through and says how long it is, such as a list or a loader."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Covariant]: ...


def told(
    items: Counted[Item], work: str, console: Console | None = None, kind: str = "parts"
) -> Iterator[Item]:
    """Yield items of work, and show how many are done: by a bar or a line a minute.

    Args:
        items: The items.
        work: What is done with them.
        console: Where it is shown; lines where no bar can move, in a file or a pipe. Default: where errors
            go, as what scripts read must not hold it.
        kind: What the items are, in the plural.
    """
    console = console or Console(stderr=True)
    with Bar(console=console, transient=True) as bar:
        task, said = bar.add_task(work, total=len(items)), time.monotonic()
        for done, item in enumerate(items):
            if not bar.moves and time.monotonic() - said > _PAUSE:
                said = time.monotonic()
                console.print(f"{work}: {done} of {len(items)} {kind}")
            yield item
            bar.update(task, advance=1)


_ASIDE: ContextVar[str] = ContextVar("aside", default="")


@contextmanager
def aside(work: str) -> Iterator[None]:
    """Say of what is done while the context lasts that it is no part of the work that is counted."""
    token = _ASIDE.set(work)
    try:
        yield
    finally:
        _ASIDE.reset(token)


def work_aside() -> str:
    """Return what is done just now that is no part of the work that is counted; else an empty text."""
    return _ASIDE.get()
