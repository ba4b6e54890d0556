"""The pictures that the figures are made of: the first image of a run under every condition."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from torch import Tensor

from dds.batch import EXAMPLES, Record
from dds.runs.whole_file import whole_file
from dds.tasks import BaseTask

Examples = dict[str, Any]
"""`original`, `index` and `<attacked, shown or decision>:<condition>` to an array of the first few images."""


def examples_of(task: BaseTask, records: Sequence[Record], batch: Any) -> Examples:
    """Return, for the first draw of each condition, what a figure needs."""
    shown = min(EXAMPLES, batch.get("real", EXAMPLES))
    first: Any = {key: value[:shown].cpu() for key, value in batch.items() if isinstance(value, Tensor)}
    examples: Examples = {"original": _to_uint8(first["image"]), "index": first["index"].numpy()}
    for record in records:
        if record.draw == 0:
            for key in record.conditions:
                examples[f"attacked:{key}"] = _to_uint8(record.examples["attacked"])
                examples[f"shown:{key}"] = _to_uint8(record.examples["shown"])
                examples[f"decision:{key}"] = np.array(task.render(record.examples["decision"], first))
    return examples


def write_examples(examples: Mapping[str, Any], path: Path) -> None:
    """Write an `.npz`."""
    with whole_file(path) as file:
        np.savez_compressed(file, **examples)


def read_examples(paths: Iterable[Path]) -> Examples:
    """Read and join files of `write_examples`; what is not there or broken counts for nothing."""
    return {name: array for path in paths for name, array in _read(path).items()}


def _read(path: Path) -> Examples:
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except (FileNotFoundError, BadZipFile, EOFError, ValueError, zlib.error):
        return {}


def _to_uint8(image: Any) -> Any:
    return (image.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()  # (n, H, W, 3)
