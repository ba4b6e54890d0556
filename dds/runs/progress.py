import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")

_PAUSE = 60.0  # seconds between two lines


def with_progress(items: Sequence[Item], work: str, kind: str, console: Console) -> Iterator[Item]:
    """Yield items and show how many are done, by a bar or, in a pipe, a line a minute.

    Args:
        items: What there is to do.
        work: What is done, e.g. `Metrics`.
        kind: What the items are, in the plural.
        console: Where it is shown.
    """
    if console.is_terminal:
        yield from track(items, work, console=console, transient=True)
        return
    said = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - said > _PAUSE:
            said = time.monotonic()
            console.print(f"{work}: {done} of {len(items)} {kind}", highlight=False, soft_wrap=True)
        yield item
