"""Data sets resampled while the images come: the bootstrap whose weights need no data set."""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, factorial

import torch
from torch import Tensor

from dds.noise import Streams

REPLICATES = 1000

_MOST = 12  # times that an image is drawn; more often, one in 10^10 would be
_REACHED = torch.tensor([1 / factorial(times) for times in range(_MOST)]).double().cumsum(0) * exp(-1)


@dataclass(frozen=True)
class Resampling:
    """How often each image is in each of the resampled data sets.

    In place of drawing N of N images, each image is drawn a Poisson(1) number of times (Hanley & MacGibbon,
    Comput. Methods Programs Biomed. 2006; Chamandy et al., Google technical report 2012): what an image
    weighs hangs on nothing but the seed and its index. So sums over images can be added up in any order and
    over any number of processes, and whatever is measured of the same images is resampled alike.

    Attributes:
        seed: Of the weights.
        replicates: R, the number of resampled data sets; 0: only the data set as it is.
    """

    seed: int = 0
    replicates: int = REPLICATES

    def weights(self, index: Tensor) -> Tensor:
        """Return the weights of images, to be read only.

        Args:
            index: `[B]` the images' places in their data set.

        Returns:
            `[B, 1 + R]` float64; first each image once.
        """
        return _weights(self, tuple(index.tolist()))


@lru_cache(maxsize=2)  # of the batch at hand, which many metrics ask for
def _weights(resampling: Resampling, index: tuple[int, ...]) -> Tensor:
    weights = torch.ones(len(index), 1 + resampling.replicates, dtype=torch.double)
    for row, image in zip(weights, index, strict=True):
        row[1:] = _draw(resampling, image)
    return weights


@lru_cache(maxsize=2**17)
def _draw(resampling: Resampling, image: int) -> Tensor:
    uniform = Streams(resampling.seed, (image,), ("bootstrap",)).uniform(
        torch.empty(1, resampling.replicates, dtype=torch.double)
    )
    return torch.bucketize(uniform[0], _REACHED, right=True).to(torch.uint8)  # (R,)
