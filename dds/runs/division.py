"""Which part of the grid a job takes upon itself."""

from fnmatch import fnmatchcase

import numpy as np

from dds.errors import InputError
from dds.runs.grid import Cells, Grid

AUTO = "auto"
"""The share of a job that takes images as it goes."""


def own_cells(grid: Grid, share: str | None, conditions: str | None) -> Cells:
    """Mark what a job measures.

    Args:
        grid: All there is to measure.
        share: `2/5`: the second of five shares of the images; `auto` or None: all.
        conditions: Patterns of keys; see `matching`.

    Returns:
        `[C, I]`

    Raises:
        InputError: If there is no such share or condition.
    """
    number, shares = (1, 1) if share == AUTO else _read_share(share or "1/1")
    images = np.arange(len(grid.images)) % shares == number - 1  # every fifth, so that all are alike
    chosen = np.isin(grid.keys, matching(grid.keys, conditions))
    return np.asarray(chosen[:, None] & images)  # (C, I)


def matching(keys: list[str], patterns: str | None) -> list[str]:
    """Choose among the keys of conditions.

    Args:
        keys: The keys.
        patterns: Like names of files, with commas between them: `clean/*,pgd/same/*`; None: all.

    Raises:
        InputError: If a pattern fits no key.
    """
    wanted = [pattern.strip() for pattern in (patterns or "*").split(",")]
    for pattern in wanted:
        if not any(fnmatchcase(key, pattern) for key in keys):
            raise InputError(f"no condition is called {pattern!r}; there are {', '.join(keys)}.")
    return [key for key in keys if any(fnmatchcase(key, pattern) for pattern in wanted)]


def _read_share(text: str) -> tuple[int, int]:
    number, _, shares = text.partition("/")
    if not (number.isdecimal() and shares.isdecimal() and 1 <= int(number) <= int(shares)):
        raise InputError(
            f"--share={text}; expected {AUTO}, or a number and how many there are, from 1/5 to 5/5."
        )
    return int(number), int(shares)
