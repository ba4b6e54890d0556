import csv
from pathlib import Path

from dds.data.listing import refuse_duplicates
from dds.errors import InputError


def read_labels(path: Path) -> tuple[list[str], list[int]]:
    """Read which class each image file shows.

    Args:
        path: A table of comma-separated values with the columns `file` and `class_index`; others are ignored.

    Returns:
        The N file names and their N classes.

    Raises:
        InputError: If a column is missing, a class is no whole number from 0 on, or a file comes twice.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
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


def _class_index(text: str | None, path: Path, line: int) -> int:
    if text is None or not text.strip().isdecimal():
        raise InputError(
            f"{path}, line {line}: class_index is {text!r}; expected a whole number from 0 on. Correct it."
        )
    return int(text)
