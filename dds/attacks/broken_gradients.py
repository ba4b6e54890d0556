from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from dds.noise import Streams


class BrokenGradients:
    """Which images had gradients that were not finite."""

    def __init__(self) -> None:
        self._noted: list[tuple[tuple[int, ...], Tensor]] = []

    def note(self, index: tuple[int, ...], broken: Tensor) -> None:
        """Remember for images `index` whether it was so, `[B]`; the device is not waited for."""
        self._noted.append((index, broken))

    def among(self, index: Tensor) -> Tensor:
        """Return for images `[B]` whether it was ever so: 1.0 or 0.0, `[B]`."""
        rows = [zip(seen, broken.tolist(), strict=True) for seen, broken in self._noted]
        found = {image for row in rows for image, was in row if was}
        return torch.tensor([float(image in found) for image in index.tolist()])


_watching: ContextVar[BrokenGradients | None] = ContextVar("watching", default=None)


@contextmanager
def watch_gradients() -> Iterator[BrokenGradients]:
    """Notice, while the context lasts, whose gradients were not finite."""
    broken = BrokenGradients()
    token = _watching.set(broken)
    try:
        yield broken
    finally:
        _watching.reset(token)


def note_broken(streams: Streams, broken: Tensor) -> None:
    """Note for the images of `streams` whether a gradient, or what came of it, was not finite, `[B]`."""
    watcher = _watching.get()
    if watcher is not None:
        watcher.note(streams.index, broken)


def finite(gradient: Tensor, streams: Streams) -> Tensor:
    """Put 0 wherever a gradient is not finite, so that an attack goes on, and note whose it was.

    Args:
        gradient: `[B, 3, H, W]`.
        streams: Those of the images.
    """
    note_broken(streams, ~gradient.flatten(1).sum(1).isfinite())  # the sum shows it, in one pass
    return gradient.nan_to_num(0.0, 0.0, 0.0)
