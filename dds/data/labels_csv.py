import csv
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from dds.data.files import read_text
from dds.data.listing import refuse_duplicates
from dds.errors import InputError

_DIGITS = 9  # numbers of classes must fit into int64


def read_labels(path: Path) -> tuple[list[str], list[int]]:
    """Read which class each image file shows.

    Args:
        path: A table of comma-separated values with the columns `file` and `class_index`; others are ignored.

    Returns:
        The N file names and their N classes.

    Raises:
        InputError: If it is no such table, a column is missing, a class is no whole number from 0 on, or a
            file comes twice.
    """
    with open_table(path) as reader:
        missing = {"file", "class_index"} - set(reader.fieldnames or [])
        if missing:
            raise InputError(
                f"{path} has the columns {reader.fieldnames}; expected file and class_index. "
                "Name them in its first line."
            )
        rows = [
            (row["file"] or "", _class_index(row["class_index"], path, reader.line_num)) for row in reader
        ]
    refuse_duplicates([name for name, _ in rows], path)
    return [name for name, _ in rows], [index for _, index in rows]


@contextmanager
def open_table(path: Path) -> Iterator["csv.DictReader[str]"]:
    """Open a table of comma-separated values, whose first line names its columns.

    Raises:
        InputError: If it is not one, here or while it is read.
    """
    try:
        yield csv.DictReader(StringIO(read_text(path), newline=""))
    except csv.Error as error:
        raise InputError(
            f"{path} cannot be read as a table of comma-separated values: {error}. Save it as such, in UTF-8."
        ) from error


def _class_index(text: str | None, path: Path, line: int) -> int:
    if text is None or not text.strip().isdecimal() or len(text.strip()) > _DIGITS:
        raise InputError(
            f"{path}, line {line}: class_index is {text!r}; expected a whole number from 0 on, of at most "
            f"{_DIGITS} digits. Correct it."
        )
    return int(text)
