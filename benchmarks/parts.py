"""Which part of an evaluation takes how much of its time."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data.dataloader import _BaseDataLoaderIter

from benchmarks.paired import finish
from dds.callbacks import AttackAndPurify
from dds.noise import Streams
from dds.runs import ResultsWriter
from dds.tasks import BaseTask

REST = "the rest"

PARTS = (
    "purifier's network, forward",
    "task's network, forward",
    "both, backward",
    "noise: drawing and copying",
    "attack, beside networks",
    "statistics, and their copying",
    "writing rows",
    "loading data",
    REST,
)
"""What the time of an evaluation is divided into."""

_PURIFIER, _TASK, _BACKWARD, _NOISE, _ATTACK, _STATISTICS, _WRITING, _LOADING, _ = PARTS


class StopWatches:
    """A watch for each part, of which one runs at a time; the device is waited for where they change.

    Attributes:
        seconds: Time of each part so far, without that of the parts within it.
    """

    def __init__(self) -> None:
        self._parts = [REST]
        self.restart()

    def restart(self) -> None:
        """Set all watches to zero."""
        finish()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._since = time.perf_counter()

    def begin(self, part: str) -> None:
        """Go on to a part within the one at work."""
        self.stop()
        self._parts.append(part)

    def end(self) -> None:
        """Go back to the part around the one at work."""
        self.stop()
        self._parts.pop()

    def stop(self) -> None:
        """Read the watch of the part at work."""
        finish()
        now = time.perf_counter()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now

    def timed(self, part: str, work: Callable[..., Any], take: Callable[[Any], Any]) -> Callable[..., Any]:
        """Return a function whose time is that of a part; what it returns goes through `take` first."""

        def do(*given: Any, **named: Any) -> Any:
            self.begin(part)
            try:
                return take(work(*given, **named))
            finally:
                self.end()

        return do


@contextmanager
def divided(task: BaseTask, protocol: AttackAndPurify) -> Iterator[StopWatches]:
    """Divide, while the context lasts, the time of an evaluation into `PARTS`."""
    watches = StopWatches()
    purifier = protocol.purifier
    networks: dict[str, Any] = {_TASK: task.model, **({_PURIFIER: purifier.model} if purifier else {})}
    places: list[tuple[Any, str, str, Callable[[Any], Any]]] = [
        (torch.autograd, "grad", _BACKWARD, _as_is),
        (Streams, "_draw", _NOISE, _as_is),
        (AttackAndPurify, "_craft", _ATTACK, _as_is),
        (BaseTask, "_measure", _STATISTICS, list),  # it measures while it is read
        (ResultsWriter, "on_test_batch_end", _WRITING, _as_is),
        (_BaseDataLoaderIter, "__next__", _LOADING, _as_is),
        (LightningModule, "transfer_batch_to_device", _LOADING, _as_is),
    ]
    with ExitStack() as stack:
        for owner, name, part, take in places:
            timed = watches.timed(part, getattr(owner, name), take)
            stack.enter_context(patch.object(owner, name, timed))
        for part, network in networks.items():
            _hook(stack, network, watches, part)
        yield watches


def _as_is(result: Any) -> Any:
    return result


def _hook(stack: ExitStack, network: nn.Module, watches: StopWatches, part: str) -> None:
    """Time a network's calls; a compiled one has hooks, too."""
    before = network.register_forward_pre_hook(lambda *given: watches.begin(part))
    after = network.register_forward_hook(lambda *given: watches.end())
    stack.callback(before.remove)
    stack.callback(after.remove)
