"""Files that are whole or not there, whatever happens while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from dds.errors import InputError

PARTIAL = ".partial"

REMEDY = (
    "Make room there, or name a writable place with --runs; what was measured is kept, and --resume goes on "
    "with it."
)
"""What to do where the disk does not take what a run leaves."""


@contextmanager
def whole_file(path: Path, remedy: str = REMEDY) -> Iterator[BinaryIO]:
    """Open a file that gets its name once all of it is on the disk.

    A killed process leaves at most a `*.partial`, which nothing reads. The content reaches the disk before
    the name does (5 ms a file on a local disk), so a power cut leaves no empty file of this name either. Any
    number of processes and machines may write the same file: the last one's stays.

    Args:
        path: The file.
        remedy: What to do where it cannot be written; ends the error's message.

    Raises:
        InputError: If it cannot be written, for example because the disk is full.
    """
    partial = path.with_name(f"{path.name}.{uuid4().hex}{PARTIAL}")
    try:
        with writing(path, remedy):
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink()


def remove_partial(folder: Path) -> None:
    """Remove what killed processes left of files, anywhere below a folder that nobody else writes to."""
    for path in folder.rglob(f"*{PARTIAL}"):
        path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, remedy: str = REMEDY) -> Iterator[None]:
    """Say what to do where the disk does not take what a run leaves.

    Args:
        path: What is being written.
        remedy: What to do; ends the error's message.

    Raises:
        InputError: In the place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}. {remedy}") from error
