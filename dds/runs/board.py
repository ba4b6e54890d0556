"""Where jobs leave slips of paper for each other: a folder, or a storage."""

import os
from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from dds.errors import InputError
from dds.runs.objects import Objects
from dds.whole_file import writing

HASTE = 15.0
"""Seconds for what is of no use later."""


class Board(ABC):
    """A place for small files that jobs leave for each other; it may be taken away at any time."""

    @abstractmethod
    def create(self, name: str, text: str = "") -> bool:
        """Leave a slip, which only one of any number of jobs can; tell whether this one has.

        Args:
            name: Its name.
            text: What stands on it; if it is no other job's, a false alarm is told from the truth by it.
        """

    @abstractmethod
    def touch(self, name: str) -> None:
        """Have a slip of this job look new.

        Raises:
            OSError: If the board is gone.
        """

    @abstractmethod
    def remove(self, names: Collection[str]) -> None:
        """Take slips away; those that are not there do no harm."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of all slips."""

    @abstractmethod
    def times(self, names: Collection[str]) -> dict[str, float]:
        """Return when slips were left or touched, by the board's clock, of those that are there."""

    @abstractmethod
    def read(self, names: Collection[str]) -> dict[str, str]:
        """Return what stands on slips, of those that are there."""


class FolderBoard(Board):
    """A folder that all machines share.

    Args:
        path: The folder; no slips can be left while it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self, name: str, text: str = "") -> bool:
        """Leave a slip."""
        path = self._path / name
        with writing(path), suppress(FileExistsError, FileNotFoundError), path.open("x") as file:
            file.write(text)
            return True
        return False

    def touch(self, name: str) -> None:
        """Have a slip of this job look new."""
        os.utime(self._path / name)

    def remove(self, names: Collection[str]) -> None:
        """Take slips away."""
        for name in names:
            (self._path / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the names of all slips."""
        return [path.name for path in self._path.glob("*")]

    def times(self, names: Collection[str]) -> dict[str, float]:
        """Return when slips were left or touched."""
        found = {}
        for name in names:
            with suppress(FileNotFoundError):
                found[name] = (self._path / name).stat().st_mtime
        return found

    def read(self, names: Collection[str]) -> dict[str, str]:
        """Return what stands on slips."""
        found = {}
        for name in names:
            with suppress(FileNotFoundError):
                found[name] = (self._path / name).read_text()
        return found


class ObjectBoard(Board):
    """Objects on a storage that keeps the first of two of one name.

    Args:
        objects: Where they lie.
        frame: The object that is taken away first when the board is; None: it stays.
    """

    def __init__(self, objects: Objects, frame: str | None = None) -> None:
        self._objects, self._frame = objects, frame

    def create(self, name: str, text: str = "") -> bool:
        """Leave a slip; what is left once the board is gone is taken back."""
        if not self._objects.create(name, text.encode()):
            return False
        if self._frame is None or self._objects.read([self._frame]):
            return True
        self._objects.remove([name])
        return False

    def touch(self, name: str) -> None:
        """Have a slip of this job look new."""
        try:
            self._objects.write(name, b"", HASTE)
        except InputError as error:
            raise OSError(str(error)) from error

    def remove(self, names: Collection[str]) -> None:
        """Take slips away; of a storage that does not answer they stay, and grow old."""
        with suppress(InputError):
            self._objects.remove(names, HASTE)

    def names(self) -> list[str]:
        """Return the names of all slips."""
        return list(self._objects.find())

    def times(self, names: Collection[str]) -> dict[str, float]:
        """Return when slips were left or touched."""
        there = self._objects.find()
        return {name: there[name].modified for name in names if name in there}

    def read(self, names: Collection[str]) -> dict[str, str]:
        """Return what stands on slips."""
        return {name: content.decode() for name, content in self._objects.read(names).items()}
