import random
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import cast

import numpy as np
import torch
from torch import Tensor

from dds.attacks.base import Attack
from dds.attacks.broken_gradients import finite, note_broken, note_zero
from dds.attacks.gradient import project
from dds.attacks.objectives.base import AttackedTask, Purify, Value
from dds.batch import Batch
from dds.noise import Streams


@dataclass
class OneImage:
    """One image through the attacker's eyes, for attacks of other libraries.

    They draw from global generators, in an order that runs through a batch. Taken one by one, with the
    generators seeded, an image's result depends on the seed alone.

    Attributes:
        task: The task.
        batch: The image alone, and its targets.
        through: What the attacker looks through.
        streams: The image's; each look at the network gets noise of its own.
    """

    task: AttackedTask
    batch: Batch
    through: Sequence[Purify]
    streams: Streams
    _looks: Iterator[int] = field(default_factory=count)

    @classmethod
    def each(
        cls, task: AttackedTask, batch: Batch, through: Sequence[Purify], streams: Streams
    ) -> "Iterator[OneImage]":
        """Yield the images of a batch, each once; see `Attack.craft`."""
        for index, row in {index: row for row, index in enumerate(streams.index)}.items():
            one = {key: value[row : row + 1] for key, value in batch.items() if isinstance(value, Tensor)}
            yield cls(task, cast(Batch, one), through, replace(streams, index=(index,)))

    @property
    def image(self) -> Tensor:
        """The clean image, `[1, 3, H, W]`."""
        return self.batch["image"]

    def logits(self, candidates: Tensor) -> Tensor:
        """Return logits `[n, C]` of candidates `[n, 3, H, W]` for the image, all under the same noise.

        Seen through several purifiers, their mean.
        """
        streams = replace(self._look(), index=self.streams.index * len(candidates))
        seen = [self.task(purify(candidates, streams)) for purify in self.through]
        return torch.stack(seen).mean(0)

    def gradient(self, candidates: Tensor, value: Value) -> Tensor:
        """Return an objective's gradient at candidates `[n, 3, H, W]`, each under noise of its own."""
        gradients = []
        for candidate in candidates.detach():
            leaf = candidate[None].requires_grad_()
            gradient = torch.autograd.grad(value(leaf, self._look()).sum(), leaf)[0]
            gradients.append(finite(gradient, self.streams))
            note_zero(self.streams, gradients[-1])
        return torch.cat(gradients)

    def intact(self, found: Tensor) -> Tensor:
        """Return what an attack found, or the clean image, marked, where that is not finite."""
        broken = ~found.isfinite().all()
        note_broken(self.streams, broken[None])
        return torch.where(broken, self.image, found)

    def _look(self) -> Streams:
        return self.streams.child("look", next(self._looks))

    @contextmanager
    def seeded(self) -> Iterator[int]:
        """Seed the global generators of Python, numpy and torch for the image, and restore them.

        Yields:
            The seed.
        """
        number = self.streams.child("seed").uniform(torch.empty(1)).item()
        seed = int(number * 2**24)  # as many as float32 tells apart
        python, numpy, unseeded = random.getstate(), np.random.get_state(), np.random.RandomState
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            try:
                random.seed(seed)
                np.random.seed(seed)
                torch.manual_seed(seed)
                np.random.RandomState = _default_seed(seed)  # type: ignore[misc]
                yield seed
            finally:
                random.setstate(python)
                np.random.set_state(numpy)
                np.random.RandomState = unseeded  # type: ignore[misc]


class OneByOne(Attack):
    """An attack of another library, on the images of a batch one by one; see `OneImage`.

    How often it calls the networks shows only as it goes on.
    """

    task_calls = None
    purifier_calls = None

    @abstractmethod
    def craft_one(self, seen: OneImage) -> Tensor:
        """Attack an image.

        Returns:
            `[1, 3, H, W]`; what lies outside the budget is projected onto it.
        """

    def craft(self, task: AttackedTask, batch: Batch, through: Sequence[Purify], streams: Streams) -> Tensor:
        """Attack the images of a batch, each once; see `Attack`."""
        each = OneImage.each(task, batch, through, streams)
        found = {seen.streams.index[0]: seen.intact(self.craft_one(seen)) for seen in each}
        together = torch.cat([found[index] for index in streams.index])
        return project(together, batch["image"], self.eps, self.norm)


def _default_seed(default: int) -> type[np.random.RandomState]:
    """Return a class for attacks that make a generator of their own and give no seed (ART's HopSkipJump)."""

    class Seeded(np.random.RandomState):
        def __init__(self, seed: int | None = None) -> None:
            super().__init__(default if seed is None else seed)

    return Seeded
