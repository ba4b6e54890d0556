"""Bringing what a data set gives to the types that `dds.batch.Batch` documents."""

from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dds.batch import Relevance
from dds.data.files import to_picture, to_values
from dds.errors import InputError


class _Kind(NamedTuple):
    dtype: torch.dtype
    ndim: int
    meaning: str


_KINDS = {
    "label": _Kind(torch.int64, 0, "the number of a class, or one-hot"),
    "labels": _Kind(torch.float32, 1, "[C], 1 or 0 for each class, -1 where that is not known"),
    "mask": _Kind(torch.int64, 2, "[H, W], the number of a class for each pixel, or one-hot [C, H, W]"),
    "depth": _Kind(torch.float32, 2, "[H, W], metres"),
    "boxes": _Kind(torch.float32, 2, "[M, 4], x1, y1, x2, y2"),
    "classes": _Kind(torch.int64, 1, "[M], the number of a class for each box"),
    "crowd": _Kind(torch.bool, 1, "[M], whether each box is around many objects"),
    "identity": _Kind(torch.int64, 0, "a number"),
    "relevance": _Kind(torch.int8, 1, "[D], a grade of dds.batch.Relevance, or whether it is a match"),
}
_ONE_HOT = ("label", "mask")
_ALLOWED = {"labels": (-1, 0, 1), "crowd": (0, 1), "relevance": tuple(Relevance)}


def documented(sample: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a sample whose targets have their documented types.

    Whole numbers of any type are classes, and one more dimension of length 1, or one-hot, is undone. Pillow's
    images are pictures as `image`, and values as targets. Keys that `Batch` does not know stay as they are.

    Args:
        sample: What a data set gives.
        number: Its place there, for messages.

    Raises:
        InputError: If it has no image, or a target cannot be meant.
    """
    image = sample.get("image")
    if isinstance(image, Image.Image):
        image = to_picture(image, f"the image of sample {number}").float() / 255
        sample = {**sample, "image": image}
    if not isinstance(image, Tensor | np.ndarray):
        what = f"a {type(image).__name__}" if "image" in sample else f"not there, only {', '.join(sample)}"
        raise InputError(
            f"the image of sample {number} is {what}; expected a float tensor [3, H, W] in [0, 1], such as "
            "torchvision's ToTensor() gives, without Normalize: that belongs to the task (mean, std); or one "
            "of Pillow's images."
        )
    return {key: _target(key, value, number) if key in _KINDS else value for key, value in sample.items()}


def _target(key: str, value: Any, number: int) -> Tensor:
    kind = _KINDS[key]
    value = to_values(value) if isinstance(value, Image.Image) else value
    found = _tensor(value, kind.ndim)
    if found is not None and key in _ONE_HOT and found.ndim == kind.ndim + 1 and _is_one_hot(found):
        found = found.to(torch.uint8).argmax(0)
    if found is None or found.ndim != kind.ndim or not _is_meant(key, found, kind.dtype):
        raise InputError(f"{key} of sample {number} is {_said(value)}; expected {kind.meaning}.")
    if key == "relevance" and found.dtype == torch.bool:
        found = found * Relevance.EASY
    return found.to(kind.dtype)


def _tensor(value: Any, ndim: int) -> Tensor | None:
    """Return a value as a tensor, if it can be one, without dimensions of length 1 that are too many."""
    try:
        found = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    if found.is_complex():
        return None
    while found.ndim > ndim and found.shape[0] == 1:
        found = found[0]
    while found.ndim > ndim and found.shape[-1] == 1:
        found = found[..., 0]
    return found


def _is_one_hot(found: Tensor) -> bool:
    return bool(((found == 0) | (found == 1)).all()) and bool((found.double().sum(0) == 1).all())


def _is_meant(key: str, found: Tensor, dtype: torch.dtype) -> bool:
    """Tell whether values can be of the documented type without being changed."""
    if key in _ALLOWED:
        allowed = torch.tensor(_ALLOWED[key], dtype=torch.float64)
        return bool(torch.isin(found.double(), allowed).all())
    if dtype.is_floating_point or not found.is_floating_point():
        return True
    return bool((found.isfinite() & (found == found.round())).all())


def _said(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        shown = value.reshape(-1)[:4].tolist()
        return f"{value.dtype} of shape {tuple(value.shape)} ({', '.join(map(str, shown))}, …)"
    return f"the {type(value).__name__} {str(value)[:40]!r}"
