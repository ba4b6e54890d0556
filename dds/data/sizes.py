"""Images of different sizes: batches of one size after another, or borders that nothing is scored by."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.functional import pad
from torch.utils.data import Dataset, Sampler

from dds.data.resizing import GREY
from dds.errors import InputError

Size = tuple[int, int]
"""Height and width."""

_LOCAL = ("mask", "depth", "boxes")
"""Targets that belong to places of the image, so that a border can have none."""


class SizedBatches(Sampler[list[int]]):
    """Batches of images of one size each, in the order of the sizes' first images.

    Several processes share the images of each size out, none twice. All have one, if there are as many.

    Args:
        sizes: Of each image.
        most: How many images a batch may have.
        take: Whether an image is to be among them, asked just before its batch is made; None: all are.
    """

    def __init__(self, sizes: Sequence[Size], most: int, take: Callable[[int], bool] | None = None) -> None:
        rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        first = {size: place for place, size in reversed([*enumerate(sizes)])}
        own = sorted(range(len(sizes)), key=lambda place: first[sizes[place]])[rank::processes]
        self._alike = [list(places) for _, places in groupby(own, key=sizes.__getitem__)]
        self._most, self._take = most, take
        self._asked = self._made = 0

    def __len__(self) -> int:
        return sum(-(-len(places) // self._most) for places in self._alike)

    @property
    def expected(self) -> float:
        """How many batches there will be, if of the images to come as many are taken as so far."""
        if self._take is None or not self._asked:
            return len(self)
        return self._made * sum(map(len, self._alike)) / self._asked

    def __iter__(self) -> Iterator[list[int]]:
        self._asked = self._made = 0
        for places in self._alike:
            taken = filter(self._is_taken, places)
            while batch := list(islice(taken, self._most)):
                self._made += 1
                yield batch

    def _is_taken(self, place: int) -> bool:
        self._asked += 1
        return self._take is None or self._take(place)


class Framed(Dataset[dict[str, Any]]):
    """Samples whose images have a grey border at the right and at the bottom, up to one size.

    The border is ignored in masks, of unknown depth, and shows no object.

    Args:
        samples: With `image` [3, h, w] and one of `mask`, `depth`, `boxes`.
        size: Height and width with the border.
        ignored: The label of ignored pixels.

    Raises:
        InputError: When a sample is read, if nothing in it says that its border does not count.
    """

    def __init__(self, samples: Any, size: Size, ignored: int) -> None:
        self.samples, self.size, self.ignored = samples, size, ignored

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        return [self._framed(sample) for sample in self.samples.__getitems__(indices)]

    def _framed(self, sample: dict[str, Any]) -> dict[str, Any]:
        if not any(key in sample for key in _LOCAL):
            raise InputError(
                f"data.sizes=pad would put a border around samples of {', '.join(sample)}; expected masks, "
                "depth or boxes, in which it counts nothing. Set data.sizes=group."
            )
        height, width = sample["image"].shape[1:]
        border = (0, self.size[1] - width, 0, self.size[0] - height)
        filling = {"image": GREY / 255, "mask": self.ignored, "depth": 0}
        known = {key: torch.as_tensor(sample[key]) for key in filling if key in sample}
        return sample | {key: pad(value, border, value=filling[key]) for key, value in known.items()}
