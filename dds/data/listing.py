"""Finding the files of a data set; what is absent is said before any long work."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from dds.errors import InputError


def list_files(folder: Path, pattern: str, remedy: str) -> list[Path]:
    """Return the files of a folder that match a pattern, sorted.

    Args:
        folder: Where to look.
        pattern: What to look for, as for `Path.glob`.
        remedy: What to do if there is none; ends the error's message.

    Raises:
        InputError: If there is none.
    """
    paths = sorted(folder.glob(pattern))
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
