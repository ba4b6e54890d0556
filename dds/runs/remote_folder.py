"""Runs on object storage."""

import itertools
import shutil
import sys
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

from filelock import FileLock

from dds.errors import InputError
from dds.runs.board import HASTE, Board, ObjectBoard
from dds.runs.claims import Lease
from dds.runs.objects import Object, Objects
from dds.runs.run_folder import RunFolder
from dds.storage import GREETING
from dds.whole_file import PARTIAL

_OPEN = f"open{PARTIAL}"
"""The object that is there while parts are: what a folder for them is elsewhere."""

_LEFT_THERE = ("attacked/", "figures/", "wandb/", "report.html", "class_iou.csv")
"""What is not brought here, as nothing is made of it."""

_LOOKS = 3  # until a list is believed that names objects which are gone

COPIES: dict[str, str] = {}
"""Of each working copy the URL."""


class RemoteFolder(RunFolder):
    """A run on object storage: a working copy in a temporary folder, of which each whole file is sent.

    Objects are whole or not there. Nothing is renamed but what jobs that claim images write, and nothing is
    there twice: who begins a run is told by who creates `config.yaml`, which only one job can. What others
    have left is found by listing. The working copy goes with this object, unless something could not be sent.

    Args:
        url: The URL.
        numbered: As for `RunFolder`.
    """

    def __init__(self, url: str, numbered: bool = False) -> None:
        self._objects = Objects(url)
        copy = Path(mkdtemp(prefix="dds-run."))
        super().__init__(copy.joinpath(*self.place.split("/")[-2:]), numbered)
        COPIES[str(self.path)] = self.place
        self._goes = weakref.finalize(self, shutil.rmtree, copy, ignore_errors=True)
        self._there: set[str] = set()  # names of all objects, as last seen
        self._tags: dict[str, str] = {}  # of those whose content is here
        self._states: dict[str, Any] = {}  # of their files, as they were then
        self._began = self._is_discarded = False

    # How other machines see its files

    @property
    def place(self) -> str:
        """The URL."""
        return self._objects.url

    @property
    def full_place(self) -> str:
        """The URL."""
        return self.place

    def show(self, path: Path) -> str:
        """Return the URL of a file."""
        return f"{self.place}/{self._name(path)}"

    def check(self, claims: bool = False) -> None:
        """Refuse a storage that cannot be used."""
        self._objects.check()
        if claims and not self._objects.keeps_the_first():
            raise InputError(
                f"--share=auto: jobs cannot claim images on {self.place}, as it does not keep the first of "
                "two objects of one name. Give each job a fixed share, such as --share=1/4."
            )

    def look(self) -> None:
        """Bring what other jobs have left since; again where one has merged parts meanwhile."""
        for _ in range(_LOOKS):
            there = self._objects.find()
            self._there = set(there)
            read = {name: found for name, found in there.items() if _is_read(name)}
            new = {name: found for name, found in read.items() if self._tags.get(name) != found.tag}
            if self._bring(new, new):
                return

    def fetch(self, *paths: Path) -> None:
        """Bring files that are not here."""
        self._bring(self._name(path) for path in paths if not path.exists())

    def _bring(self, names: Iterable[str], known: Mapping[str, Object] | None = None) -> bool:
        """Bring objects; tell whether all were there."""
        wanted = {name: self.path / name for name in names}
        self._note(found := self._objects.get(wanted, known))
        return found.keys() == wanted.keys()

    def has(self, path: Path) -> bool:
        """Tell whether a file is here, or was there when that was last looked for."""
        return path.exists() or self._name(path) in self._there

    def send(self, *paths: Path) -> None:
        """Send files, and keep them here where that fails."""
        try:
            self._note(self._objects.put({self._name(path): path for path in paths}))
        except InputError as error:
            self._goes.detach()
            raise InputError(
                f"{error} What was sent before is kept, and --resume goes on with it; what was not lies in "
                f"{self.path.parent.parent}."
            ) from error

    def _note(self, objects: Mapping[str, Object]) -> None:
        for name, found in objects.items():
            self._tags[name], self._states[name] = found.tag, _state(self.path / name)

    def publish(self) -> None:
        """Send all that has changed, but parts and what is W&B's."""
        files = self.path.rglob("*")
        self._send_changed(path for path in files if not self._name(path).startswith(("parts/", "wandb/")))

    def close(self) -> None:
        """Send what W&B has to send later, if that can be done soon."""
        self._objects.patience = GREETING
        if not self._is_discarded:
            try:
                self._send_changed(self.wandb.glob("offline-run-*/**/*"))
            except InputError as error:
                print(f"Warning: what W&B is to send later lies here alone: {error}", file=sys.stderr)

    def _send_changed(self, paths: Iterable[Path]) -> None:
        """Send whole files that are not there as they are here."""
        whole = (path for path in paths if path.is_file() and path.suffix != PARTIAL)
        self.send(*(path for path in whole if self._states.get(self._name(path)) != _state(path)))

    def board(self) -> Board:
        """Return where jobs claim images."""
        return ObjectBoard(self._objects.below("parts"), _OPEN)

    def lock(self, path: Path) -> FileLock | Lease:
        """Return what only one job can hold; where nothing is exclusive, each holds its own."""
        if not self._objects.keeps_the_first():
            return super().lock(path)
        return Lease(ObjectBoard(self._objects.below(self._name(path.parent))))

    def is_open(self) -> bool:
        """Tell whether there is a place for parts: that nobody has merged them."""
        return bool(self._objects.read([f"parts/{_OPEN}"]))

    def name_part(self, nameless: Path, path: Path) -> None:
        """Give a part, which has been sent, the name by which it counts."""
        super().name_part(nameless, path)
        self._objects.rename(self._name(nameless), self._name(path), HASTE)  # before the claim is lost
        self._tags[self._name(path)] = self._tags.pop(self._name(nameless))

    def drop(self, path: Path) -> None:
        """Remove a file, if it is there."""
        super().drop(path)
        self._objects.remove([self._name(path)])

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    # The start

    def claimed(self) -> RunFolder:
        """Return this folder; of a numbered one, make the first of name, name_2, … that is nobody's."""
        if not self.numbered:
            return self
        for taken in itertools.count(1):
            folder = RemoteFolder(self.place if taken == 1 else f"{self.place}_{taken}")
            if not folder._objects.find() and folder._objects.create(f"parts/{_OPEN}", uuid4().bytes):
                folder._began = True
                return folder
        raise AssertionError  # there is always a next number

    def prepare(self, config: str, go_on: bool = False) -> None:
        """Have the run ready to begin or to go on with, and a place for parts."""
        self.look()
        super().prepare(config, go_on)
        self._objects.create(f"parts/{_OPEN}", b"")
        if not self._objects.read([self._name(self.config)]):  # another job found it unused just before
            self._begin(config, go_on=True)

    def _begin(self, config: str, go_on: bool) -> None:
        """Create `config.yaml`, or find that another job has; its last line tells one from the other."""
        begun = f"{config.rstrip()}\n# begun: {uuid4().hex}\n"
        if not self._objects.create(self._name(self.config), begun.encode()) and not go_on:
            raise self._is_taken()
        self._began = True
        self.fetch(self.config)

    def _is_empty(self) -> bool:
        return all(name.endswith(PARTIAL) for name in self._there)

    def _is_run(self) -> bool:
        return self.config.is_file()

    def _is_seen(self) -> bool:
        self.parts.mkdir(parents=True, exist_ok=True)
        self.look()
        return self.config.is_file()

    def discard_if_unused(self) -> None:
        """Remove what was begun if nothing was measured and no other job is at work."""
        if self._mark is None and not self._began:
            return
        self._objects.patience = GREETING
        with suppress(InputError):  # a storage that does not answer keeps it
            self.leave()
            ours, config = {self._name(self.plan), f"parts/{_OPEN}"}, self._name(self.config)
            there = self._objects.find().keys() - ours - {config}
            if any(not name.startswith(("wandb/", "attacked/")) for name in there):
                return
            self._is_discarded = True
            self._objects.remove([*there, *ours])
            self._objects.remove([config])
            if self._objects.find():  # of a job that begins at this moment
                self._objects.create(config, self.config.read_bytes())

    # What is measured

    def clear(self) -> None:
        """Send the tables, then remove what a merged run needs no longer."""
        self._send_changed([self.votes, self.examples, self.samples])
        self._objects.remove([f"parts/{_OPEN}"])  # from here on nobody claims anything
        self._objects.remove([name for name in self._objects.find() if name.startswith("parts/")])
        super().clear()

    def _set_aside(self, path: Path) -> None:
        super()._set_aside(path)
        self._objects.remove([self._name(path)])

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json` when all is sent that it speaks of."""
        self.publish()
        super().write_summary(summary)


def _is_read(name: str) -> bool:
    return not name.endswith(PARTIAL) and not name.startswith(_LEFT_THERE)


def _state(path: Path) -> tuple[int, int]:
    said = path.stat()
    return said.st_mtime_ns, said.st_size
