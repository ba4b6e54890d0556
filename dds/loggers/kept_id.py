"""The id of a run on W&B, kept so that every job of the run goes on with it."""

import json
from contextlib import suppress

from filelock import Timeout

from dds.runs.run_folder import RunFolder
from dds.whole_file import whole_file

LONGEST = 128  # characters of a name on W&B, of a run's id or a project's
REFUSED = set("/\\#?%:")  # in it


def is_name(text: str) -> bool:
    """Whether W&B takes a text as the id of a run or the name of a project."""
    return 0 < len(text) <= LONGEST and not REFUSED & set(text)


class KeptId:
    """A file with the id of a run on W&B; who holds it is the only process that writes to that run.

    Two that write at once would overwrite each other's rows, which each numbers from where it began. W&B has
    a shared mode, in which the server numbers them; it is experimental, and knows no offline runs. What is
    held is given up with the process, however that ends. On file systems without locks everybody holds it.

    Args:
        folder: Of the run, in which the file is.

    Attributes:
        id: The id, once it is held; None where there is none, or none that W&B would take.
        damaged: Whether the file holds something else.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder, self._path = folder, folder.wandb / "run.json"
        self._lock = folder.lock(self._path)
        self.id: str | None = None
        self.damaged = False

    def hold(self, patience: float = 0.0) -> bool:
        """Try, for `patience` seconds, to become the one that holds it; return whether that is so."""
        self._path.parent.mkdir(exist_ok=True)
        try:
            self._lock.acquire(timeout=patience)
        except Timeout:
            return False
        except (NotImplementedError, OSError):  # this file system has no locks
            pass
        self._folder.fetch(self._path)
        with suppress(FileNotFoundError):
            self._read(self._path.read_text(errors="replace"))
        return True

    def _read(self, text: str) -> None:
        found = None
        with suppress(ValueError, LookupError, TypeError):
            found = json.loads(text)["id"]
        fits = isinstance(found, str) and is_name(found)
        self.id, self.damaged = found if fits else None, bool(text) and not fits

    def keep(self, new: str) -> None:
        """Write the id, where it has changed."""
        if new != self.id:
            with whole_file(self._path) as file:
                file.write(json.dumps({"id": new}).encode() + b"\n")
            self._folder.send(self._path)
            self.id = new

    def release(self) -> None:
        """Let others hold it."""
        self._lock.release()
