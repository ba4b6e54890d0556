from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from dds.batch import BROKEN_GRADIENT, ZERO_GRADIENT
from dds.noise import Streams


class GradientFaults:
    """Which images had gradients that were not finite, or zero in every pixel."""

    def __init__(self) -> None:
        self._noted: dict[str, list[tuple[tuple[int, ...], Tensor]]] = defaultdict(list)

    def note(self, mark: str, index: tuple[int, ...], found: Tensor) -> None:
        """Remember for images `index` whether it was so, `[B]`; the device is not waited for."""
        self._noted[mark].append((index, found))

    def among(self, index: Tensor) -> dict[str, Tensor]:
        """Return for images `[B]` whether it was ever so, by mark: 1.0 or 0.0, `[B]`."""
        return {mark: self._among(mark, index) for mark in (BROKEN_GRADIENT, ZERO_GRADIENT)}

    def _among(self, mark: str, index: Tensor) -> Tensor:
        rows = [zip(seen, found.tolist(), strict=True) for seen, found in self._noted[mark]]
        marked = {image for row in rows for image, was in row if was}
        return torch.tensor([float(image in marked) for image in index.tolist()])


_watching: ContextVar[GradientFaults | None] = ContextVar("watching", default=None)


@contextmanager
def watch_gradients() -> Iterator[GradientFaults]:
    """Notice, while the context lasts, whose gradients were not finite, or zero."""
    faults = GradientFaults()
    token = _watching.set(faults)
    try:
        yield faults
    finally:
        _watching.reset(token)


def note_broken(streams: Streams, broken: Tensor) -> None:
    """Note for the images of `streams` whether a gradient, or what came of it, was not finite, `[B]`."""
    _note(BROKEN_GRADIENT, streams, broken)


def note_zero(streams: Streams, gradient: Tensor) -> None:
    """Note for the images of `streams` whether a gradient, `[B, 3, H, W]`, is zero: no way leads up."""
    _note(ZERO_GRADIENT, streams, ~gradient.flatten(1).any(1))


def _note(mark: str, streams: Streams, found: Tensor) -> None:
    watcher = _watching.get()
    if watcher is not None:
        watcher.note(mark, streams.index, found)


def finite(gradient: Tensor, streams: Streams) -> Tensor:
    """Put 0 wherever a gradient is not finite, so that an attack goes on, and note whose it was.

    Args:
        gradient: `[B, 3, H, W]`.
        streams: Those of the images.
    """
    note_broken(streams, ~gradient.flatten(1).sum(1).isfinite())  # the sum shows it, in one pass
    return gradient.nan_to_num(0.0, 0.0, 0.0)
