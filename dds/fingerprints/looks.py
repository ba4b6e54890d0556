from typing import Any, NamedTuple

from dds.fingerprints.fingerprint import Fingerprint


class Looked(NamedTuple):
    """What was found at a thing.

    Attributes:
        digest: Its fingerprint.
        modules: Where its classes and functions were defined.
        thing: The thing, so that no other one gets its id.
    """

    digest: str
    modules: set[str]
    thing: Any


class Looks:
    """Fingerprints of things as they were when first looked at, before work left something in them."""

    def __init__(self) -> None:
        self._looked: dict[int, Looked] = {}

    def at(self, thing: Any) -> Looked:
        """Look at a thing, or say what it was like the first time.

        Raises:
            NoFingerprintError: If it cannot be told from others.
        """
        if id(thing) not in self._looked:
            found = Fingerprint()
            self._looked[id(thing)] = Looked(found.of(thing), found.modules, thing)
        return self._looked[id(thing)]
