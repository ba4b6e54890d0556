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
        for row, index in zip(drawn, self.index, strict=True):
            sample(row.shape, generator=self._generator(index), out=row)
        return drawn.to(like, non_blocking=like.is_cuda)  # a GPU goes on with its work meanwhile

    def _generator(self, index: int) -> torch.Generator:
        key = repr((self.seed, index, *self.path)).encode()
        digest = hashlib.blake2b(key, digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))
