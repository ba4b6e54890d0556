"""What tells one data set from another without reading its images."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

Fact = bytes | str
"""What is said of a data set, or the absolute path of a file of it."""

_DIGITS = 16
_LOOKS = 256
"""Numbers that are looked at in each row of an array, evenly spaced."""


def digest_of(*datasets: Any) -> str:
    """Return a short text that changes when data sets hold other samples, or in another order.

    Of each file the name counts, below the folder that all have in common, and the size in bytes; besides,
    whatever a data set keeps for each sample in lists and arrays, such as labels. Where it lies, and in which
    batches it is read, counts nothing.

    Args:
        *datasets: Data sets with any attributes.
    """
    facts = [fact for dataset in datasets for fact in _of_dataset(dataset, ())]
    folders = {os.path.dirname(fact) for fact in facts if isinstance(fact, str)}  # noqa: PTH120 (in 50,000)
    root = os.path.commonpath(folders) if folders else ""
    found = hashlib.sha256()
    for fact in facts:
        said = _of_file(fact, root) if isinstance(fact, str) else fact
        found.update(len(said).to_bytes(8, "big") + said)
    return found.hexdigest()[:_DIGITS]


def _of_dataset(dataset: Any, around: tuple[Any, ...]) -> Iterator[Fact]:
    """Find what a data set keeps for each sample: lists and arrays of its own length, and its files.

    Args:
        dataset: The data set.
        around: Those that it is part of; one of them may be known to it.
    """
    if any(dataset is one for one in around):
        return
    around = (*around, dataset)
    length = len(dataset) if isinstance(dataset, Sized) else -1
    yield f"{length} samples".encode()
    if _is_sequence(dataset):
        yield from _of(dataset)
    for name, kept in sorted(getattr(dataset, "__dict__", {}).items()):
        if isinstance(kept, Dataset) or name == "dataset":
            yield from _of_dataset(kept, around)
        elif _is_of_each(kept, length):
            yield from _of(kept)
        elif isinstance(kept, str | Path):
            yield from [os.path.abspath(kept)] if _is_file(kept) else []  # noqa: PTH100
        elif isinstance(kept, Mapping) or _is_sequence(kept):
            for part in kept.values() if isinstance(kept, Mapping) else kept:
                if isinstance(part, Dataset):
                    yield from _of_dataset(part, around)
                elif _is_of_each(part, length):
                    yield from _of(part)


def _is_of_each(kept: Any, length: int) -> bool:
    """Tell whether a value has an entry for each sample; those of a dictionary may be a cache's."""
    if isinstance(kept, Tensor | np.ndarray) and kept.ndim == 0:
        return False
    listed = _is_sequence(kept) or isinstance(kept, Tensor) or hasattr(kept, "to_numpy")
    return (listed or isinstance(kept, np.ndarray)) and len(kept) == length


def _is_sequence(kept: Any) -> bool:
    return isinstance(kept, Sequence) and not isinstance(kept, str | bytes)


def _is_file(name: str | Path) -> bool:
    return os.path.isfile(name)  # noqa: PTH113 (which raises on some texts that are no path)


def _of(kept: Any) -> Iterator[Fact]:
    """Describe a value of any depth; what is neither file nor plain counts by its type."""
    if isinstance(kept, Path) or (isinstance(kept, str) and os.sep in kept and _is_file(kept)):
        yield os.path.abspath(kept)  # noqa: PTH100 (which would be slow for 50,000)
    elif isinstance(kept, str | bool | int | float | bytes | None):
        yield repr(kept).encode(errors="surrogatepass")
    elif _is_sequence(kept):
        for part in kept:
            yield from _of(part)
    elif isinstance(kept, Mapping):
        yield from _of(list(kept.items()))
    elif is_dataclass(kept) and not isinstance(kept, type):
        yield from _of([getattr(kept, field.name) for field in fields(kept)])
    elif hasattr(kept, "to_numpy"):  # tables
        yield from _of(kept.to_numpy())
    elif isinstance(kept, np.ndarray | np.generic) and kept.dtype.kind not in "biufc":
        yield from _of(kept.tolist())
    elif isinstance(kept, Tensor | np.ndarray | np.generic):
        yield _of_array(torch.as_tensor(kept))
    else:
        yield type(kept).__name__.encode()


def _of_array(array: Tensor) -> bytes:
    rows = array.detach().flatten(1) if array.ndim > 1 else array.detach().reshape(-1, 1)
    seen = rows[:, :: max(1, rows.shape[1] // _LOOKS)].cpu()
    seen = seen.float() if seen.dtype == torch.bfloat16 else seen  # which numpy does not know
    return f"{array.dtype} {tuple(array.shape)} ".encode() + seen.numpy().tobytes()


def _of_file(path: str, root: str) -> bytes:
    name = path[len(root) :].replace(os.sep, "/").lstrip("/")
    try:
        size = os.stat(path).st_size  # noqa: PTH116
    except OSError:  # it is missed when it is read
        size = -1
    return f"{name} {size}".encode(errors="surrogatepass")
