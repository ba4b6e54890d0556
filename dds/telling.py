"""Telling people who wait how far it is."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")
Covariant = TypeVar("Covariant", covariant=True)

_PAUSE = 60.0  # seconds between two lines


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
    if console.is_terminal:
        yield from track(items, work, len(items), console=console, transient=True)
        return
    said = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - said > _PAUSE:
            said = time.monotonic()
            console.print(f"{work}: {done} of {len(items)} {kind}")
        yield item


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
