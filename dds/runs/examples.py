"""The pictures that the figures are made of: the first image of a run under every condition."""

import errno
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from dds.batch import EXAMPLES, Record, to_uint8
from dds.runs.stopping import uncut
from dds.whole_file import whole_file

T = TypeVar("T")

_LENGTHS = 26  # bytes of a member's header before the lengths of its name and of what else it has

Examples = dict[str, Any]
"""`original`, `index` and `<attacked, shown or decision>:<condition>` to an array of the first few images."""


def examples_of(records: Sequence[Record], batch: Any) -> Examples:
    """Return, for the first draw of each condition, what a figure needs.

    Args:
        records: What the task measured of the first batch.
        batch: That batch.
    """
    some = slice(min(EXAMPLES, batch.get("real", EXAMPLES)))
    examples = {"original": to_uint8(batch["image"][some]), "index": batch["index"][some].cpu().numpy()}
    for record in records:
        for name, pictures in record.examples.items():
            examples |= {f"{name}:{key}": pictures for key in record.conditions}
    return examples


def write_examples(examples: Mapping[str, Any], path: Path) -> None:
    """Write an `.npz`, compressed lightly: as small for photographs, and much faster for flat pictures.

    A signal waits for its end: an archive that is cut raises errors of its own in the place of `Stopped`.
    """
    with uncut(), whole_file(path) as file, ZipFile(file, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in examples.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def read_examples(paths: Iterable[Path]) -> Examples:
    """Read and join files of `write_examples`; what is not there or broken counts for nothing."""
    return {name: array for path in paths for name, array in _read(path).items()}


def _read(path: Path) -> Examples:
    return _unless_broken(lambda: _arrays_of(path), {})


def _arrays_of(path: Path) -> Examples:
    with np.load(path) as arrays:
        return dict(arrays)


def names_of(path: Path) -> set[str]:
    """Return the names in a file of `write_examples`, after a look at all of it; none if it is broken."""
    return _unless_broken(lambda: _names_of(path), set())


def _names_of(path: Path) -> set[str]:
    with ZipFile(path) as archive:
        if archive.testzip() is not None:
            return set()
        return {name.removesuffix(".npy") for name in archive.namelist()}


def _unless_broken(read: Callable[[], T], otherwise: T) -> T:
    try:
        return read()
    except (BadZipFile, EOFError, ValueError, RuntimeError, zlib.error):
        return otherwise
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):  # the latter: members said to lie before the file
            raise
        return otherwise


def join_examples(paths: Iterable[Path], joined: Path) -> None:
    """Join whole files of `write_examples` into one; of equal names the last counts.

    Arrays are copied as they are compressed: compressing them again takes half a minute where they are many.

    Args:
        paths: The files.
        joined: The result, which may be one of them.
    """
    with uncut(), ExitStack() as opened, whole_file(joined) as file:
        sources = [opened.enter_context(path.open("rb")) for path in paths]
        last = {info.filename: (source, info) for source in sources for info in ZipFile(source).infolist()}
        with ZipFile(file, "w") as archive:
            for source, info in last.values():
                _copy(source, info, archive, file)


def _copy(source: BinaryIO, info: ZipInfo, archive: ZipFile, file: BinaryIO) -> None:
    """Append a member with its own header to an archive, of which `zipfile` writes the list at its end."""
    source.seek(info.header_offset + _LENGTHS)
    names = sum(struct.unpack("<HH", source.read(4)))
    source.seek(info.header_offset)
    info.header_offset = file.tell()
    file.write(source.read(_LENGTHS + 4 + names + info.compress_size))
    archive.filelist.append(info)
    archive.NameToInfo[info.filename] = info
    archive.start_dir = file.tell()
