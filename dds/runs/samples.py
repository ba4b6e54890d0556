"""The table of everything measured: a row for each image x condition x draw."""

import errno
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from dds.batch import Record
from dds.runs.whole_file import whole_file

COMBINED = -1
"""The draw of rows that hold the combined decision, until they get a table of their own."""

_SECONDS = b"seconds"
_NAMES = b"names"  # a digest of the columns' names, which no checksum of parquet's guards

_COLUMNS = pa.schema(  # no empty table: making one imports pandas, which takes a second
    {"index": pa.int64(), "condition": pa.string(), "draw": pa.int32(), "part": pa.string()}
)
"""What rows have beside statistics."""


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


def write_parquet(table: pa.Table, path: Path, seconds: float = 0.0) -> None:
    """Write a table so that a file of this name is always whole; its metadata says what time it took."""
    table = table.replace_schema_metadata({_SECONDS: repr(seconds), _NAMES: _digest(table)})
    with whole_file(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def seconds_of(paths: Iterable[Path]) -> float:
    """Return the time that whole files of `write_parquet` took together."""
    metadata = [_whole(pq.read_schema, path) for path in paths]
    return sum(float(found.metadata.get(_SECONDS, 0)) for found in metadata if found and found.metadata)


def read_rows(paths: Iterable[Path]) -> pa.Table:
    """Read what `write_parquet` wrote, and only that: files that are not there or broken count for nothing.

    Returns:
        All rows, with the name of their file as `part`; `draw` is `COMBINED` where there is none.
    """
    tables = [
        table.append_column("part", pa.array([path.name] * len(table), pa.string()))
        for path in paths
        if (table := _whole(_read, path)) is not None
    ]
    rows = pa.concat_tables([_COLUMNS.empty_table(), *tables], promote_options="default")
    return rows.set_column(2, _COLUMNS.field("draw"), rows["draw"].fill_null(COMBINED))


def _read(path: Path) -> pa.Table:
    table = pq.ParquetFile(path, page_checksum_verification=True).read()
    said = (table.schema.metadata or {}).get(_NAMES)
    if said is not None and said != _digest(table):
        raise pa.ArrowInvalid("the names of its columns are damaged")
    return table


def _digest(table: pa.Table) -> bytes:
    return blake2b("\n".join(table.column_names).encode(), digest_size=8).hexdigest().encode()


def _whole(read: Callable[[Path], Any], path: Path) -> Any | None:
    """Read of a file what is wanted; None if it is not there or broken."""
    try:
        return read(path)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):  # None: of pyarrow itself
            raise
        return None


def merge_rows(rows: pa.Table, conditions: Sequence[str]) -> tuple[pa.Table, pa.Table | None]:
    """Sort rows by condition, image and draw, and set the combined decisions apart.

    Args:
        rows: As `read_rows` returns them.
        conditions: Keys in the order of the result.

    Returns:
        The samples, and the combined decisions over all draws (None where nothing was drawn twice).
        Statistics are in alphabetical order, so that it does not show who measured what.
    """
    rank = pc.index_in(rows["condition"], value_set=pa.array(conditions, pa.string()))
    keys = [("rank", "ascending"), ("index", "ascending"), ("draw", "ascending")]
    rows = rows.append_column("rank", rank).sort_by(keys)
    statistics = sorted(set(rows.column_names) - {*_COLUMNS.names, "rank"})
    rows = rows.select(["index", "condition", "draw", *statistics])
    combined = pc.equal(rows["draw"], COMBINED)
    samples, votes = rows.filter(pc.invert(combined)), rows.filter(combined)
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
