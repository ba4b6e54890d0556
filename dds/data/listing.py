"""Finding the files of a data set; what is absent is said before any long work."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath

from dds.data.files import IMAGE_SUFFIXES
from dds.errors import InputError

_NO_DATA = {"$RECYCLE.BIN", "@eaDir", "System Volume Information", "__MACOSX", "__pycache__", "lost+found"}


def visible(paths: Iterable[Path], below: Path) -> list[Path]:
    """Return paths sorted, without what systems and editors leave beside the data.

    That is whatever, below the folder `below`, starts with a dot (`.ipynb_checkpoints`, `._cat.jpg`), and
    folders such as `__MACOSX`.
    """
    depth = len(below.parts)
    return sorted(path for path in paths if not any(map(_is_hidden, path.parts[depth:])))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _NO_DATA


def list_images(folder: Path) -> list[Path]:
    """Return the visible image files anywhere below a folder, a folder's own files together."""
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        images = [name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]  # noqa: PTH122
        found += [(place, name) for name in images if not _is_hidden(name)]
    return [Path(place, name) for place, name in sorted(found)]


def list_files(folder: Path, pattern: str, remedy: str) -> list[Path]:
    """Return the visible files of a folder that match a pattern, sorted.

    Args:
        folder: Where to look.
        pattern: What to look for, as for `Path.glob`.
        remedy: What to do if there is none; ends the error's message.

    Raises:
        InputError: If there is none.
    """
    paths = visible(folder.glob(pattern), folder)
    if not paths:
        raise InputError(f"there is no {pattern} in {folder}. {remedy}")
    return paths


def require_files(paths: Sequence[Path], remedy: str) -> None:
    """Raise `InputError`, ended by the remedy, if any of the files does not exist."""
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise InputError(f"{len(absent)} of {len(paths)} files do not exist, e.g. {absent[0]}. {remedy}")


def inside(folder: Path, name: str, source: object) -> Path:
    """Return the file that an annotation names, which must lie below its folder.

    The name is judged as it is written, by the rules of Windows, which know the separators and roots of both
    systems. Links below the folder are followed: data sets are often put together of them, and they are
    made by whoever laid the folder out, not by the annotation.

    Args:
        folder: Where names start from.
        name: What the annotation says, e.g. `night/0001.png`.
        source: What names it, for the message.

    Raises:
        InputError: If the name is absolute, or leads out by `..`.
    """
    path = PureWindowsPath(name)
    if path.anchor or ".." in path.parts:
        raise InputError(
            f"{source} names {name!r}, which leads out of {folder}; expected a path below it. Correct the "
            "name, and take annotations only from where you trust them."
        )
    return folder / name


def refuse_duplicates(names: Sequence[str], source: Path) -> None:
    """Raise `InputError` if a list of images, read from `source`, names one more than once."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(
            f"{source} names {len(repeated)} images more than once, e.g. {repeated[0]}; expected each once. "
            "Remove the repeated lines."
        )
