import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")

_PAUSE = 60.0  # seconds between two lines


def told(items: Sequence[Item], work: str, console: Console, kind: str = "conditions") -> Iterator[Item]:
    """Yield conditions, or other items of work, and show how many are done: by a bar or a line a minute.

    Args:
        items: One a condition.
        work: What is done with them.
        console: Where it is shown; lines where no bar can move, in a file or a pipe.
        kind: What the items are, in the plural.
    """
    if console.is_terminal:
        yield from track(items, work, console=console, transient=True)
        return
    said = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - said > _PAUSE:
            said = time.monotonic()
            console.print(f"{work}: {done} of {len(items)} {kind}")
        yield item
