"""A place where attacked images are kept, each under a name that says all it depends on."""

import json
import os
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import platformdirs

from dds.errors import InputError
from dds.storage import GREETING, is_url, open_storage, persistently, read_objects

T = TypeVar("T")

SCHEMA = 1
"""The layout of a store; its file `dds_store.json` names it."""

GIB = 20.0
"""How many GiB a folder may hold unless more are allowed."""

_MARK = "dds_store.json"
_SUFFIX = ".attacked"
_LEFT = 0.9  # of what is allowed, once entries had to go
_OFTEN = 1 / 16  # of it: after how much that was added the folder is looked through


class Store:
    """Entries by name, in a folder or on object storage; any number of jobs may use it at a time.

    A job does not end over it: where an entry cannot be read it is as if it were not there, and where none
    can be written, because the disk is full or what was used since the job began takes all that is allowed,
    none is from then on.

    Args:
        place: The folder, made if it is not there; or an URL that fsspec knows, such as `s3://bucket/store`.
        gib: How many GiB a folder may hold; those entries go first that were not used for longest. Object
            storage has rules of its own for that, and is not bounded.

    Raises:
        InputError: If there is something else at that place, or it cannot be written.
    """

    def __init__(self, place: str, gib: float = GIB) -> None:
        self.place, self._allowed, self._added = place, gib * 2**30, 0
        self._told: set[str] = set()
        self._is_folder = not is_url(place)
        try:
            self._files, self._root = open_storage(Path(place).expanduser() if self._is_folder else place)
            self._open()
        except (InputError, OSError, ValueError) as error:
            why = f"{error.strerror}." if isinstance(error, OSError) and error.strerror else error
            raise InputError(
                f"the store of attacked images {place} cannot be used: {why} Name another place by "
                "--store (or DDS_STORE), or do without by --store=false."
            ) from error
        if self._is_folder:
            self._since = Path(self._root, _MARK).stat().st_mtime
            self._sweep()

    def _open(self) -> None:
        files, mark = self._files, f"{self._root}/{_MARK}"
        if self._try(lambda: files.exists(mark)):
            said = json.loads(self._try(lambda: files.cat_file(mark)))
            if said != {"schema": SCHEMA}:
                raise InputError(f"it is of another version ({said}; expected schema {SCHEMA}).")
        elif self._try(lambda: files.exists(self._root) and files.ls(self._root)):
            raise InputError("it holds other things than attacked images.")
        if self._is_folder:
            files.makedirs(self._root, exist_ok=True)
        said = json.dumps({"schema": SCHEMA}).encode()
        self._try(lambda: files.pipe_file(mark, said))  # or it cannot be written

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        """Return those of some entries that are there."""
        paths = {self._path(name): name for name in names}
        try:
            found = self._try(lambda: read_objects(self._files, list(paths)))
        except InputError as error:
            self._tell("read", error)
            return {}
        for path in found if self._is_folder else ():
            with suppress(OSError):
                os.utime(path)
        return {paths[path]: content for path, content in found.items()}

    def count(self, names: Collection[str]) -> int:
        """Return how many of some entries there are."""
        return sum(self._files.exists(self._path(name)) for name in names)

    def write(self, entries: Mapping[str, bytes]) -> None:
        """Add entries, or leave it if that failed before."""
        if "written" in self._told:
            return
        paths = {self._path(name): content for name, content in entries.items()}
        try:
            for folder in {path.rpartition("/")[0] for path in paths} if self._is_folder else ():
                self._files.makedirs(folder, exist_ok=True)
            self._try(lambda: self._files.pipe(paths))
        except (InputError, OSError) as error:
            self._tell("written", error)
        self._added += sum(map(len, entries.values()))
        if self._is_folder and self._added > _OFTEN * self._allowed:
            self._sweep()

    def _try(self, work: Callable[[], T]) -> T:
        return persistently(work, self.place, GREETING)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name[:2]}/{name}{_SUFFIX}"

    def _tell(self, done: str, why: object) -> None:
        if done not in self._told:
            print(
                f"Warning: the store {self.place} cannot be {done}: {str(why).rstrip('.')}.", file=sys.stderr
            )
        self._told.add(done)

    def _sweep(self) -> None:
        """Remove what was not used for longest, if there is too much; nothing that was since this began."""
        self._added, entries = 0, []
        for path in Path(self._root).glob(f"??/*{_SUFFIX}"):
            with suppress(FileNotFoundError):  # of another job that does the same
                entries.append((path.stat().st_mtime, path.stat().st_size, path))
        total = sum(size for _, size, _ in entries)
        if total <= self._allowed:
            return
        for used, size, path in sorted(entries):
            if total <= _LEFT * self._allowed or used >= self._since:
                break
            path.unlink(missing_ok=True)
            total -= size
        if total > self._allowed:
            self._tell("written", f"it holds the {total / 2**30:.3g} GiB that it may; see --store_gib")


def open_store(given: str | bool | None, gib: float = GIB) -> Store | None:
    """Return the store that a user asked for.

    Args:
        given: A place; false: none; true or None: what `DDS_STORE` says, which may be `false`, or else a
            folder in the user's cache, and none, with a warning, where that cannot be written.
        gib: See `Store`.

    Raises:
        InputError: If a place that was named cannot be used, or nothing may be kept there.
    """
    if not gib > 0:
        raise InputError(f"store_gib={gib}; expected more than 0. To keep nothing set store=false.")
    named = os.environ.get("DDS_STORE") if given in (None, True) else given
    if named is False or str(named).lower() == "false":
        return None
    if named:
        return Store(str(named), gib)
    try:
        return Store(str(platformdirs.user_cache_path("dds") / "attacked"), gib)
    except InputError as error:
        print(f"Warning: {error}", file=sys.stderr)
        return None
