"""Images of different sizes: batches of one size after another, or borders that nothing is scored by."""

from collections.abc import Iterator, Sequence
from itertools import groupby
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
    """

    def __init__(self, sizes: Sequence[Size], most: int) -> None:
        rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        first = {size: place for place, size in reversed([*enumerate(sizes)])}
        own = sorted(range(len(sizes)), key=lambda place: first[sizes[place]])[rank::processes]
        alike = [list(places) for _, places in groupby(own, key=sizes.__getitem__)]
        self._batches = [
            places[start : start + most] for places in alike for start in range(0, len(places), most)
        ]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)


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
