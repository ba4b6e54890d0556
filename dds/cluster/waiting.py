"""Jobs of this machine, which are waited for."""

import re
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from submitit import Job

_PAUSE = 1.0  # seconds between two looks
_SPEAK = 60.0  # seconds between two lines, where no table can move
_LENGTH = 4096  # bytes, more than a line
_END = 10.0  # seconds that jobs get to end


def wait_for(jobs: Sequence[Job[None]], console: Console) -> None:
    """Show how far jobs are until all have ended; end them where this process is to end.

    Args:
        jobs: The jobs.
        console: Where it is shown: a table; in a file or a pipe, a line a minute of each.
    """
    try:
        with Live(console=console, auto_refresh=False, transient=True) as table:
            said = time.monotonic()
            while working := [job for job in jobs if not job.done()]:
                if console.is_terminal:
                    table.update(_table(jobs, working), refresh=True)
                elif time.monotonic() - said > _SPEAK:
                    said = time.monotonic()
                    for job in working:
                        console.print(f"Job {job.job_id}: {last_line(job.paths.stdout)}", soft_wrap=True)
                time.sleep(_PAUSE)
    except BaseException:
        end(jobs)
        raise


def end(jobs: Sequence[Job[None]]) -> None:
    """Have jobs end, and wait until they have, as far as they do."""
    for job in jobs:
        job.cancel(check=False)
    until = time.monotonic() + _END
    while not all(job.done() for job in jobs) and time.monotonic() < until:
        time.sleep(0.1)


def last_line(path: Path) -> str:
    """Return the last line of a log, without what submitit puts before its own; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LENGTH))
        lines = file.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return re.sub(r"^submitit \w+ \(.*?\) - ", "", last)


def _table(jobs: Sequence[Job[None]], working: Sequence[Job[None]]) -> Table:
    table = Table("job", "")
    table.add_column("its last line", no_wrap=True)
    for job in jobs:
        state = "at work" if job in working else "ended"
        table.add_row(str(job.job_id), state, last_line(job.paths.stdout))
    return table
