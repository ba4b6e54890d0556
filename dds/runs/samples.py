"""The table of everything measured: a row for each image x condition x draw."""

import errno
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from dds.batch import Record
from dds.errors import InputError
from dds.whole_file import whole_file

COMBINED = -1
"""The draw of rows that hold the combined decision, until they get a table of their own."""

_NAMES = b"names"  # a digest of the columns' names, which no checksum of parquet's guards
_GROUPS = b"groups"  # of each row group its condition and how many rows it has, behind a digest of both

_COLUMNS = pa.schema(  # no empty table: making one imports pandas, which takes a second
    {"index": pa.int64(), "condition": pa.string(), "draw": pa.int32(), "part": pa.string()}
)
"""What rows have beside statistics."""

_Groups = dict[str, tuple[int, int]]
"""A condition's row group, and how many rows it has."""

KEYS = ("index", "condition", "draw")
"""Columns that tell one row from another."""


@dataclass(frozen=True)
class Spent:
    """What rows took.

    Attributes:
        seconds: Time, of all processes together.
        from_store: How many of the attacked images were found in a store, and took none to be made.
    """

    seconds: float = 0.0
    from_store: int = 0


NOTHING = Spent()


class Samples:
    """The rows of a merged table, one condition at a time.

    Little is read where each row group is of one condition, as `write_by_condition` leaves it; any other
    table of that layout is read as well, all of it for each condition.

    Args:
        paths: The table, or several whose rows are taken together.
        holds: What must stay while they are read, such as their folder.

    Raises:
        InputError: If one is not there or damaged, then or whenever it is read.
    """

    def __init__(self, *paths: Path, holds: Any = None) -> None:
        self._paths, self._holds = paths, holds
        self._images: pa.Array | None = None
        with _undamaged(paths):
            self._files = [(file, _groups(file)) for file in map(_open, paths)]
            if any(not {"index", "condition"} <= {*schema.names} for schema in self._schemas()):
                raise pa.ArrowInvalid("it holds no samples")

    @property
    def schema(self) -> pa.Schema:
        """The columns, statistics in alphabetical order."""
        every = pa.unify_schemas(self._schemas(), promote_options="permissive")
        return pa.schema([every.field(name) for name in _in_order(every.names)])

    def _schemas(self) -> list[pa.Schema]:
        return [file.schema_arrow.remove_metadata() for file, _ in self._files]

    @property
    def conditions(self) -> list[str]:
        """Keys of the conditions, in the order of the rows."""
        keys: list[str] = self.read(["condition"])["condition"].unique().to_pylist()
        return keys

    @property
    def images(self) -> NDArray[np.int64]:
        """The images' places in their data set, rising."""
        return np.unique(self.read(["index"])["index"].to_numpy())

    def among(self, images: Iterable[int]) -> "Samples":
        """Return the rows of some images."""
        chosen = copy(self)
        chosen._images = pa.array(images, pa.int64())
        return chosen

    def of(self, condition: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows of one condition.

        Args:
            condition: Its key.
            columns: Statistics that are wanted besides `index`, `condition` and `draw`; default: all.

        Returns:
            The rows, sorted by image, then draw; without statistics that none of them has.
        """
        names = None if columns is None else [*KEYS, *columns]
        with _undamaged(self._paths):
            tables = [_rows_of(file, groups, condition, names) for file, groups in self._files]
        rows = self._chosen(_joined(tables))
        rows = rows.sort_by([(key, "ascending") for key in ("index", "draw") if key in rows.column_names])
        lacking = [name for name in rows.column_names if 0 < len(rows) == rows[name].null_count]
        return rows.drop_columns(lacking)

    def read(self, columns: Sequence[str] = KEYS) -> pa.Table:
        """Read some columns of all rows; those that are not there are left out."""
        with _undamaged(self._paths):
            tables = [_read_columns(file, ["index", *columns]) for file, _ in self._files]
        rows = self._chosen(_joined(tables))
        return rows.select([name for name in columns if name in rows.column_names])

    def _chosen(self, rows: pa.Table) -> pa.Table:
        return rows if self._images is None else rows.filter(pc.is_in(rows["index"], self._images))


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
        promote_options="permissive",
    )


def _table(record: Record, condition: str, index: Tensor) -> pa.Table:
    draw = COMBINED if record.draw is None else record.draw
    columns = {
        "index": pa.array(index.cpu().numpy()),
        "condition": pa.array([condition] * len(index)),
        "draw": pa.array(np.full(len(index), draw, dtype=np.int32)),
    }
    for name, value in record.statistics.items():
        array = _narrow(value.numpy())
        columns[name] = pa.array(array if array.ndim == 1 else list(array))
    return pa.table(columns)


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    """Give whole numbers the smallest type that holds them; joined tables get the widest of their parts."""
    if not np.issubdtype(array.dtype, np.integer) or not array.size:
        return array
    low, high = array.min(), array.max()
    kinds = (np.int8, np.int16, np.int32)
    kind = next((k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max), np.int64)
    return array.astype(kind)


def write_parquet(table: pa.Table, path: Path, spent: Spent = NOTHING) -> None:
    """Write a table so that a file of this name is always whole; its metadata says what it took."""
    with _writer(path, table.schema, spent) as writer:
        writer.write_table(table)


def write_by_condition(
    tables: Iterable[tuple[str, pa.Table]], schema: pa.Schema, path: Path, spent: Spent = NOTHING
) -> None:
    """Write a table as `write_parquet` does, with a row group for each condition, for `Samples` to find.

    Args:
        tables: Key and rows of each condition.
        schema: Of all of them.
        path: The file.
        spent: What they took.
    """
    groups = []
    with _writer(path, schema, spent) as writer:
        for key, table in tables:
            writer.write_table(table, row_group_size=max(1, len(table)))
            groups.append((key, len(table)))
        said = json.dumps(groups)
        writer.add_key_value_metadata({_GROUPS: _digest(said) + said.encode()})


@contextmanager
def _writer(path: Path, schema: pa.Schema, spent: Spent) -> Iterator[pq.ParquetWriter]:
    said = {name.encode(): repr(value).encode() for name, value in asdict(spent).items()}
    schema = schema.with_metadata({_NAMES: _digest(*schema.names), **said})
    options = {"compression": "zstd", "write_page_checksum": True}
    with whole_file(path) as file, pq.ParquetWriter(file, schema, **options) as writer:
        yield writer


def spent_on(paths: Iterable[Path]) -> Spent:
    """Return what whole files of `write_parquet` took together."""
    schemas = [_whole(pq.read_schema, path) for path in paths]
    said = [schema.metadata for schema in schemas if schema and schema.metadata]
    seconds = sum(float(one.get(b"seconds", 0)) for one in said)
    return Spent(seconds, sum(int(one.get(b"from_store", 0)) for one in said))


def read_rows(paths: Iterable[Path], columns: Sequence[str] | None = None) -> pa.Table:
    """Read what `write_parquet` wrote, and only that: files that are not there or broken count for nothing.

    Args:
        paths: The files.
        columns: Statistics that are wanted; what is broken beside them does not show. Default: all.

    Returns:
        All rows, with the name of their file as `part`; `draw` is `COMBINED` where there is none.
    """
    names = None if columns is None else [*KEYS, *columns]
    tables = [
        table.append_column("part", pa.repeat(path.name, len(table)))
        for path in paths
        if (table := _whole(lambda path: _read_columns(_open(path), names), path)) is not None
    ]
    rows = _joined([_COLUMNS.empty_table(), *tables])
    return rows.set_column(2, _COLUMNS.field("draw"), rows["draw"].cast(pa.int32()).fill_null(COMBINED))


def read_keys(paths: Iterable[Path]) -> pa.Table:
    """Read of rows, as `read_rows`, no statistics."""
    return read_rows(paths, [])


def _read_columns(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> pa.Table:
    table = file.read(columns)
    if len(table) != file.metadata.num_rows:  # pages of a damaged kind are passed over
        raise pa.ArrowInvalid(f"{len(table)} of {file.metadata.num_rows} rows are there")
    return table


def _open(path: Path) -> pq.ParquetFile:
    file = pq.ParquetFile(path, page_checksum_verification=True)
    said = (file.schema_arrow.metadata or {}).get(_NAMES)
    if said is not None and said != _digest(*file.schema_arrow.names):
        raise pa.ArrowInvalid("the names of its columns are damaged")
    return file


def _digest(*lines: str) -> bytes:
    return blake2b("\n".join(lines).encode(), digest_size=8).hexdigest().encode()


@contextmanager
def _undamaged(paths: Sequence[Path]) -> Iterator[None]:
    """Say what to do where one of these files cannot be read."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{' or '.join(map(str, paths))} is damaged ({error}). Restore it, or remove it and measure "
            "again by --resume."
        ) from error


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Join tables of any columns; what one lacks is null there, and numbers get the wider type."""
    return pa.concat_tables(tables or [_COLUMNS.empty_table()], promote_options="permissive")


def is_whole(path: Path) -> bool:
    """Tell whether all of a file is there and undamaged."""

    def read(path: Path) -> bool:
        file = _open(path)
        found = sum(len(file.read_row_group(group)) for group in range(file.num_row_groups))
        return bool(found == file.metadata.num_rows)

    return bool(_whole(read, path))


def _in_order(names: Collection[str]) -> list[str]:
    """Put statistics behind the keys and in alphabetical order; it does not show who measured what."""
    return [name for name in KEYS if name in names] + sorted(set(names).difference(_COLUMNS.names))


def _groups(file: pq.ParquetFile) -> _Groups | None:
    """Return number and rows of each condition's row group; None of files that do not say so."""
    said = (file.metadata.metadata or {}).get(_GROUPS)
    if said is None:
        return None
    digest, text = said[: len(_digest())], said[len(_digest()) :].decode(errors="replace")
    if digest != _digest(text):
        raise pa.ArrowInvalid("the list of its conditions is damaged")
    return {key: (group, rows) for group, (key, rows) in enumerate(json.loads(text))}


def _rows_of(
    file: pq.ParquetFile, groups: _Groups | None, condition: str, names: Sequence[str] | None
) -> pa.Table:
    """Read the rows of one condition, from all row groups if it is not said which one is its."""
    if groups is None:
        chosen, expected = list(range(file.num_row_groups)), file.metadata.num_rows
    else:
        group, expected = groups.get(condition, (0, 0))
        chosen = [group] if expected else []
    schema = file.schema_arrow.remove_metadata()
    wanted = schema if names is None else pa.schema([field for field in schema if field.name in names])
    batches, found = [], 0
    for batch in file.iter_batches(row_groups=chosen, columns=wanted.names):
        found += len(batch)
        batches.append(batch.select(wanted.names).filter(pc.equal(batch["condition"], condition)))
    if found != expected:  # pages of a damaged kind are passed over
        raise pa.ArrowInvalid(f"{found} of {expected} rows are there")
    return pa.Table.from_batches(batches, wanted)


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
    rows = rows.select(_in_order(set(rows.column_names) - {"rank"}))
    combined = pc.equal(rows["draw"], COMBINED)
    samples, votes = rows.filter(pc.invert(combined)), rows.filter(combined)
    if not len(votes):
        return samples, None
    return _without_others(samples), _without_others(votes.drop_columns("draw"))


def _without_others(rows: pa.Table) -> pa.Table:
    """Drop the statistics that are of the other table: of single draws, or of combined decisions."""
    return rows.drop_columns([name for name in rows.column_names if rows[name].null_count == len(rows)])


def to_arrays(table: pa.Table) -> dict[str, NDArray[np.float64]]:
    """Return each statistic of a table as `[rows]` or `[rows, C]` float64."""
    arrays = {}
    for name in table.column_names:
        if name not in ("index", "condition", "draw"):
            column = table[name].to_numpy()
            arrays[name] = np.stack(column).astype(float) if column.dtype == object else column.astype(float)
    return arrays


def to_tensors(rows: pa.Table) -> dict[str, Tensor]:
    """Return each statistic of rows as `[rows]` or `[rows, C]` float64."""
    return {name: torch.from_numpy(value) for name, value in to_arrays(rows).items()}


def to_draws(rows: pa.Table) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the images of a condition, `[N]`, and each statistic under K draws, `[K, N]` or `[K, N, C]`.

    Args:
        rows: Sorted by image, then draw; each image with all draws.
    """
    index = torch.from_numpy(np.unique(rows["index"].to_numpy()))
    draws = {
        name: value.reshape(len(index), -1, *value.shape[1:]).transpose(0, 1)
        for name, value in to_tensors(rows).items()
    }
    return index, draws
