"""Random streams: the numbers an image gets depend on nothing but the seed, the image and their purpose.

Batch size, the number of processes and the order of work therefore change no result.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Streams:
    """One random stream for each image of a batch, without state: asking twice gives the same numbers.

    Attributes:
        seed: Seed of the experiment.
        index: The images' places in their data set, one for each image of the batch.
        path: What the numbers are for, e.g. `("pgd", "eot", 3)`; grown with `child`.
    """

    seed: int
    index: tuple[int, ...]
    path: tuple[str | int, ...] = ()

    def child(self, *purpose: str | int) -> "Streams":
        """Return the streams for a more particular purpose, independent of these and of other children."""
        return replace(self, path=self.path + purpose)

    def normal(self, like: Tensor) -> Tensor:
        """Draw standard normal numbers.

        Args:
            like: `[B, ...]` tensor whose shape, type and device the result takes.

        Returns:
            `[B, ...]`, row i drawn from the stream of image i.
        """
        return self._draw(torch.randn, like)

    def uniform(self, like: Tensor) -> Tensor:
        """Draw numbers uniform in [0, 1); see `normal`."""
        return self._draw(torch.rand, like)

    def _draw(self, sample: Callable[..., Tensor], like: Tensor) -> Tensor:
        if len(self.index) != len(like):
            raise ValueError(f"{len(self.index)} random streams for a batch of {len(like)} images")
        # on the CPU and in float32: the same numbers, whatever device and precision take them
        drawn = torch.empty(like.shape, dtype=torch.float32, pin_memory=like.is_cuda)
        for place, row in enumerate(drawn):
            sample(row.shape, generator=generator_of(self.key(place)), out=row)
        return drawn.to(like, non_blocking=like.is_cuda)  # a GPU goes on with its work meanwhile

    def key(self, place: int) -> tuple[str | int, ...]:
        """Return what the numbers of the batch's image at a place depend on."""
        return (self.seed, self.index[place], *self.path)


@dataclass(frozen=True)
class OwnStreams(Streams):
    """Streams of which each image has its own purpose, such as another draw than its neighbour.

    Attributes:
        own: One purpose for each image of the batch, before what `path` grows to.
    """

    own: tuple[tuple[str | int, ...], ...] = ()

    def key(self, place: int) -> tuple[str | int, ...]:
        """Return what the numbers of the batch's image at a place depend on."""
        return (self.seed, self.index[place], *self.own[place], *self.path)


def generator_of(key: tuple[str | int, ...]) -> torch.Generator:
    """Return a generator of numbers that depend on a key alone."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))
