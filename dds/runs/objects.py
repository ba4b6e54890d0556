"""Objects on a storage, by their names below an URL."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from uuid import uuid4

from fsspec.core import has_magic

from dds.errors import InputError
from dds.storage import GREETING, open_storage, persistently, read_objects, scheme_of
from dds.whole_file import PARTIAL

T = TypeVar("T")

_AT_ONCE = 64  # objects that one call brings or sends

_EXCLUSIVE = ("s3", "s3a", "gs", "gcs", "memory")
"""Storages whose packages have the server refuse what is there already; others look first, then write."""


@dataclass(frozen=True)
class Object:
    """What a storage says of an object.

    Attributes:
        size: In bytes.
        tag: Another one when the content is another.
        modified: When it was written, in seconds, by the storage's clock.
    """

    size: int
    tag: str
    modified: float


class Objects:
    """What lies below an URL; an object is whole or not there.

    Every method asks again while the storage does not answer, see `persistently`, and raises an InputError
    if it never does.

    Args:
        url: The URL, without patterns.

    Attributes:
        url: The same, without a slash at its end.
        patience: Seconds until the storage is given up; None: `dds.storage.PATIENCE`.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.patience: float | None = None
        self._storage, self._root = open_storage(self.url)
        if has_magic(self._root):
            raise InputError(f"{url} has one of * ? [ in it; expected a name of plain letters.")

    def below(self, name: str) -> "Objects":
        """Return what lies below one of the names."""
        return Objects(f"{self.url}/{name}")

    def check(self) -> None:
        """Have the storage answer once.

        Raises:
            InputError: If there is no such bucket, it may not be read, or nobody answers.
        """
        with suppress(FileNotFoundError):  # of the folder alone
            persistently(lambda: self._storage.ls(self._root), self.url, GREETING)

    def keeps_the_first(self) -> bool:
        """Try whether of two objects of one name the storage keeps the first, whatever comes later."""
        if scheme_of(self.url) not in _EXCLUSIVE:
            return False
        name = f"{uuid4().hex}{PARTIAL}"
        try:
            return self.create(name, b"first") and not self.create(name, b"second")
        finally:
            self.remove([name])

    def find(self) -> dict[str, Object]:
        """Return all there is, by name."""
        try:
            found = self._try(lambda: self._storage.find(self._root, detail=True), "")
        except FileNotFoundError:
            return {}
        start = f"{self._root}/"
        return {path[len(start) :]: _object(info) for path, info in found.items() if path.startswith(start)}

    def matching(self, pattern: str) -> dict[str, Object]:
        """Return what fits a pattern, such as `*/config.yaml`, by name."""
        try:
            found = self._try(partial(self._walk, pattern.count("/") + 1), pattern)
        except FileNotFoundError:
            return {}
        return {name: one for name, one in found.items() if PurePosixPath(name).match(pattern)}

    def _walk(self, depth: int) -> dict[str, Object]:
        """Return what lies at a depth; `glob` would pass over what goes wrong."""
        walk = self._storage.walk(self._root, maxdepth=depth, detail=True, on_error="raise")
        files = (info for _, _, infos in walk for info in infos.values())
        found = {info["name"][len(self._root) + 1 :]: _object(info) for info in files}
        return {name: one for name, one in found.items() if name.count("/") == depth - 1}

    def get(self, wanted: Mapping[str, Path], known: Mapping[str, Object] | None = None) -> dict[str, Object]:
        """Bring objects here, each under its name in the folder once all of it is here.

        Args:
            wanted: Names, and the files that they become, with the time at which they were written.
            known: What `find` has said of them.

        Returns:
            What was brought; an object that is gone is left out.
        """
        return self._with_many(partial(self._get, wanted, known or {}), wanted)

    def _get(
        self, wanted: Mapping[str, Path], known: Mapping[str, Object], names: Collection[str]
    ) -> dict[str, Object]:
        ending = f".{uuid4().hex}{PARTIAL}"
        arriving = {name: wanted[name].with_name(wanted[name].name + ending) for name in names}
        try:
            for path in arriving.values():
                path.parent.mkdir(parents=True, exist_ok=True)
            self._storage.get([*map(self._path, names)], [*map(str, arriving.values())])
            found = {name: self._said(name, path, known.get(name)) for name, path in arriving.items()}
            for name, path in arriving.items():
                os.utime(path, (found[name].modified,) * 2)
                path.replace(wanted[name])
            return found
        finally:
            for path in arriving.values():
                path.unlink(missing_ok=True)

    def put(self, given: Mapping[str, Path]) -> dict[str, Object]:
        """Send files, and see that all of each has come.

        Args:
            given: Names, and the files that they are made of.
        """
        found = self._with_many(partial(self._put, given), given)
        if len(found) < len(given):
            raise self._nowhere()
        return found

    def _put(self, given: Mapping[str, Path], names: Collection[str]) -> dict[str, Object]:
        self._storage.put([str(given[name]) for name in names], [*map(self._path, names)])
        return {name: self._said(name, given[name]) for name in names}

    def _said(self, name: str, path: Path, known: Object | None = None) -> Object:
        """Return what is said of an object that is as large as a file."""
        size = path.stat().st_size
        found = known if known and known.size == size else _object(self._storage.info(self._path(name)))
        if found.size != size:
            raise ConnectionError(f"{size} of {found.size} bytes were moved")
        return found

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless there is one of this name; tell whether what is there now is this content.

        Only one of many can where `keeps_the_first`; a try that seemed to fail may have been the one.
        """
        path = self._path(name)
        try:
            self._try(lambda: self._storage.pipe_file(path, content, mode="create"), name)
        except FileExistsError:
            return self.read([name]).get(name) == content
        except FileNotFoundError as error:
            raise self._nowhere() from error
        return True

    def write(self, name: str, content: bytes, patience: float) -> None:
        """Write a small object, within so many seconds."""
        self._try(lambda: self._storage.pipe_file(self._path(name), content), name, patience)

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the content of small objects, without those that are not there."""
        return self._with_many(self._read, names)

    def _read(self, names: Collection[str]) -> dict[str, bytes]:
        paths = {self._path(name): name for name in names}
        found = read_objects(self._storage, [*paths])
        return {paths[path]: content for path, content in found.items()}

    def rename(self, name: str, new: str, patience: float | None = None) -> None:
        """Give an object another name, within so many seconds; killed in between it has both."""
        self._try(lambda: self._storage.cp_file(self._path(name), self._path(new)), name, patience)
        self.remove([name])

    def remove(self, names: Collection[str], patience: float | None = None) -> None:
        """Remove objects, within so many seconds if any are said; those that are not there do no harm."""
        paths = [*map(self._path, names)]
        if paths and not any(map(has_magic, paths)):
            with suppress(FileNotFoundError):  # of one of them; the others may be there still
                self._try(lambda: self._storage.rm(paths), "", patience)
                return
        for path in paths:
            with suppress(FileNotFoundError):
                self._try(partial(self._storage.rm_file, path), "", patience)

    def _nowhere(self) -> InputError:
        return InputError(f"{self.url} cannot be written: there is no such bucket. Make it, or name another.")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _with_many(
        self, work: Callable[[Collection[str]], dict[str, T]], names: Iterable[str]
    ) -> dict[str, T]:
        """Do something with many objects at once; where that fails, with each of them until it is done."""
        found: dict[str, T] = {}
        every = list(names)
        for some in (every[start : start + _AT_ONCE] for start in range(0, len(every), _AT_ONCE)):
            try:
                found |= self._try(partial(work, some), some[0], 0.0)
            except (InputError, FileNotFoundError):
                for name in some:
                    with suppress(FileNotFoundError):
                        found |= self._try(partial(work, [name]), name)
        return found

    def _try(self, work: Callable[[], T], name: str, patience: float | None = None) -> T:
        patience = self.patience if patience is None else patience
        return persistently(work, f"{self.url}/{name}".rstrip("/"), patience)


def _object(info: Mapping[str, Any]) -> Object:
    times = (info.get(name) for name in ("LastModified", "mtime", "last_modified", "modified", "created"))
    when = next((time for time in times if time is not None), 0.0)
    modified = when.timestamp() if isinstance(when, datetime) else float(when)
    tag = next((info[name] for name in ("ETag", "etag", "md5Hash") if info.get(name)), modified)
    return Object(int(info["size"]), f"{tag} {info['size']}", modified)
