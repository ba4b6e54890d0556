"""The table of everything measured: a row for each image x condition x draw."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from dds.batch import Record

COMBINED = -1
"""The draw of rows that hold the combined decision, until they get a table of their own."""


def records_to_table(records: Sequence[Record], index: Tensor) -> pa.Table:
    """Lay out what a batch gave as rows.

    Args:
        records: What the task measured.
        index: `[B]` the images' places in their data set.

    Returns:
        Columns `index`, `condition`, `draw` and one for each statistic, a list where it has several values.
    """
    return pa.concat_tables(
        (_table(record, key, index) for record in records for key in record.conditions),
        promote_options="default",
    )


def _table(record: Record, condition: str, index: Tensor) -> pa.Table:
    draw = COMBINED if record.draw is None else record.draw
    columns = {
        "index": pa.array(index.cpu().numpy()),
        "condition": pa.array([condition] * len(index)),
        "draw": pa.array(np.full(len(index), draw, dtype=np.int32)),
    }
    for name, value in record.statistics.items():
        array = value.numpy()
        columns[name] = pa.array(array if array.ndim == 1 else list(array))
    return pa.table(columns)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table so that a file of this name is always whole."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)


def merge_parts(parts: Sequence[Path], conditions: Sequence[str]) -> tuple[pa.Table, pa.Table | None]:
    """Join the parts of all processes and sort them by condition, image and draw.

    Args:
        parts: Files written from `records_to_table`.
        conditions: Keys in the order of the result.

    Returns:
        The samples, and the combined decisions over all draws (None where nothing was drawn twice).
    """
    table = pa.concat_tables([pq.read_table(part) for part in parts], promote_options="default")
    order = {key: rank for rank, key in enumerate(conditions)}
    rank = pa.array([order[key] for key in table["condition"].to_pylist()])
    keys = [("rank", "ascending"), ("index", "ascending"), ("draw", "ascending")]
    table = table.append_column("rank", rank).sort_by(keys).drop_columns("rank")
    combined = pa.compute.equal(table["draw"], COMBINED)
    samples, votes = table.filter(pa.compute.invert(combined)), table.filter(combined)
    if not len(votes):
        return samples, None
    single = [name for name in votes.column_names if votes[name].null_count]  # what only single draws have
    return samples, votes.drop_columns(["draw", *single])


def to_arrays(table: pa.Table) -> dict[str, NDArray[np.float64]]:
    """Return each statistic of a table as `[rows]` or `[rows, C]` float64."""
    arrays = {}
    for name in table.column_names:
        if name not in ("index", "condition", "draw"):
            column = table[name].to_numpy()
            arrays[name] = np.stack(column).astype(float) if column.dtype == object else column.astype(float)
    return arrays
