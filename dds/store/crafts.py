"""Which attacked images are known, by all that they depend on."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from dds.attacks import Attack
from dds.attacks.objectives.base import Calls
from dds.batch import Batch
from dds.fingerprints import Fingerprint, Looks, NoFingerprintError, arithmetic, code_of
from dds.store.entries import DamagedError, pack, unpack
from dds.store.store import Store

Crafted = tuple[Tensor, dict[str, Tensor]]
"""Images, and what is to be marked of each."""

_NOT_OF_DATA = {"features", "positive", "real", "views"}
"""What a batch holds that follows from it and the network, or belongs to no image."""


class KnownCrafts:
    """Attacked images that some run has made before, here or elsewhere, and that need not be made again.

    An image is found only if all that it depends on is the same: its pixels, index and targets; the task's
    and the purifiers' classes, settings and weights; the attack, what it looks through, the seed; and the
    code of all that. Where something of it cannot be told from others, nothing is looked for.

    Args:
        store: Where they are kept.

    Attributes:
        found: How many images were there.
        made: How many were not.
        damaged: How many entries were not as they had been written.
        searched: What tells the images of the database that this process has met apart, by their places.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.found = self.made = self.damaged = 0
        self.searched: dict[int, str] = {}
        self._database = ""
        self._looks = Looks()
        self._crafts: dict[tuple[Any, ...], str] = {}
        self._batch: Any = None
        self._images: list[str] = []
        self._works = True

    def meet_searched(self, image: Tensor, index: Tensor) -> None:
        """Take notice of images of the database, `[B, 3, H, W]`, that queries are compared with."""
        self.searched |= {place: _digest(row) for place, row in zip(index.tolist(), image, strict=True)}

    def begin(self, things: Iterable[Any], searched: Iterable[Mapping[int, str]]) -> None:
        """Look at networks and attacks before the work leaves something in them.

        Args:
            things: All of them.
            searched: Of all processes.
        """
        self._database = _digest(sorted(item for part in searched for item in part.items()))
        try:
            for thing in things:
                self._looks.at(thing)
        except NoFingerprintError as error:
            self._do_without(error)

    def _do_without(self, error: NoFingerprintError) -> None:
        if self._works:
            print(f"Note: no attacked images are kept or looked for: {error}.", file=sys.stderr)
        self._works = False

    def names(self, attack: Attack, seen: Sequence[Any], settings: Sequence[Any], batch: Batch) -> list[str]:
        """Return what the attacked images of a batch are called; nothing if they cannot be told from others.

        Args:
            attack: The attack.
            seen: The task and purifiers that it looks through.
            settings: What else it depends on, such as seed and levels.
            batch: Images and targets.
        """
        if not self._works:
            return []
        key = (*map(id, (attack, *seen)), repr(settings))
        try:
            if key not in self._crafts:
                self._crafts[key] = self._digest_of(attack, seen, settings) if _is_kept(attack) else ""
            craft = self._crafts[key]
            return [_digest((craft, image)) for image in self._images_of(batch)] if craft else []
        except NoFingerprintError as error:
            self._do_without(error)
            return []

    def _digest_of(self, attack: Attack, seen: Sequence[Any], settings: Sequence[Any]) -> str:
        parts = [self._looks.at(thing) for thing in (attack, *seen)]
        code = code_of({module for part in parts for module in part.modules})
        digests = [part.digest for part in parts]
        return _digest((digests, settings, self._database, code, arithmetic()))

    def get(self, names: Sequence[str], image: Tensor, make: Callable[[], Crafted]) -> Crafted:
        """Return attacked images and their marks as they are kept, or made and kept from now on.

        Where one of them is missing or damaged all are made: in a batch of another size networks round
        otherwise.

        Args:
            names: What each of them is called; none: nothing is looked for.
            image: What they were before, `[B, 3, H, W]`.
            make: Makes them.
        """
        if not names:
            return make()
        if (found := self._read(names, image)) is not None:
            self.found += len(set(names))
            return found
        self.made += len(set(names))
        attacked, marks = make()
        each = [{mark: row[place].item() for mark, row in marks.items()} for place in range(len(names))]
        self.store.write({name: pack(*row) for name, *row in zip(names, attacked, image, each, strict=True)})
        return attacked, marks

    def _read(self, names: Sequence[str], image: Tensor) -> Crafted | None:
        entries, read = self.store.read(set(names)), []
        for name, row in zip(names, image, strict=True):
            try:
                read += [unpack(entries[name], row)] if name in entries else []
            except DamagedError:
                self.damaged += 1
        if len(read) < len(names):
            return None
        marks = {name: torch.tensor([marks[name] for _, marks in read]) for name in read[0][1]}
        return torch.stack([attacked for attacked, _ in read]), marks

    def describe(self) -> str:
        """Say what came of it."""
        damaged = f"; damaged entries: {self.damaged}" if self.damaged else ""
        return f"Attacked images found in {self.store.place}: {self.found}; made: {self.made}{damaged}."

    def _images_of(self, batch: Batch) -> list[str]:
        """Return what tells each image with its targets from others; of a batch found once."""
        if self._batch is not batch["image"]:
            rows = {name: value for name, value in cast(Any, batch).items() if name not in _NOT_OF_DATA}
            count = len(batch["image"])
            each = [{name: value[place] for name, value in rows.items()} for place in range(count)]
            self._images, self._batch = [_digest(one) for one in each], batch["image"]
        return self._images


def _is_kept(attack: Attack) -> bool:
    """Tell whether images are worth keeping, and hang on no files, whose content is not looked at."""
    free = attack.task_calls == attack.purifier_calls == Calls()
    return not free and not attack.identity()


def _digest(thing: Any) -> str:
    return Fingerprint().of(thing)
