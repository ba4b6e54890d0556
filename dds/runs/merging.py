"""Many parts become tables by condition, of which few rows are held at a time."""

import shutil
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

import pyarrow as pa

from dds.runs.samples import NOTHING, Samples, Spent, merge_rows, read_rows, write_by_condition
from dds.whole_file import PARTIAL

_BLOCK = 64 * 2**20
"""Bytes of rows that are sorted at a time."""


class TemporaryFolder:
    """A folder that goes with whoever holds it, or at the end of a `with`.

    Args:
        within: Where it is made; default: where the system has such folders.
    """

    def __init__(self, within: Path | None = None) -> None:
        self.path = Path(mkdtemp(PARTIAL, "merging.", within))
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._remove()


def lay_out(
    parts: Sequence[Path], conditions: Sequence[str], folder: TemporaryFolder
) -> tuple[Samples, Samples | None]:
    """Write the rows of parts by condition, into as many files as keep the memory small.

    Args:
        parts: Files of `write_parquet`; those that are not there or broken count for nothing.
        conditions: Keys in the order of the result.
        folder: Where; what is returned holds it.

    Returns:
        The samples, and the combined decisions (None where nothing was drawn twice).
    """
    written: tuple[list[Path], list[Path]] = [], []
    for rows in _blocks(parts):
        for paths, table in zip(written, merge_rows(rows, conditions), strict=True):
            if table is not None:
                paths.append(folder.path / f"{len(written[0])}-{len(written[1])}.parquet")
                write_by_condition(_by_condition(table), table.schema, paths[-1])
    samples, votes = written
    return Samples(*samples, holds=folder), Samples(*votes, holds=folder) if votes else None


def write_merged(
    rows: Samples, schema: pa.Schema, conditions: Sequence[str], path: Path, spent: Spent = NOTHING
) -> None:
    """Write rows into one table, condition by condition.

    Args:
        rows: As `lay_out` returns them.
        schema: The columns that are kept.
        conditions: Keys in the order of the result.
        path: The table.
        spent: What its parts took.
    """
    tables = ((key, table) for key in conditions if len(table := rows.of(key)))
    write_by_condition(((key, _as(table, schema)) for key, table in tables), schema, path, spent)


def _blocks(parts: Sequence[Path]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    room = _BLOCK
    for path in parts:
        held.append(read_rows([path]))
        room -= held[-1].nbytes
        if room < 0:
            yield pa.concat_tables(held, promote_options="permissive")
            held, room = [], _BLOCK
    if any(map(len, held)):
        yield pa.concat_tables(held, promote_options="permissive")


def _by_condition(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Cut a table that is sorted by condition."""
    start = 0
    for found in rows["condition"].value_counts().to_pylist():
        yield found["values"], rows.slice(start, found["counts"])
        start += found["counts"]


def _as(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give rows the columns and types of a schema."""
    filled = pa.concat_tables([schema.empty_table(), rows], promote_options="permissive")
    return filled.select(schema.names).cast(schema)
