"""What the metrics of data sets have in common: states that lead with the resampled data sets."""

from abc import ABC
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from dds.metrics.resampling import Resampling

_ONCE = Resampling(replicates=0)


class Resampled(Metric, ABC):
    """A metric of a data set and of R data sets resampled from it; `compute` returns `[1 + R]`, or a number.

    `update` takes the images' places in their data set and, by name, what was measured of each; names that it
    does not know are left to others of its `MetricCollection`.

    Args:
        resampling: How the data sets are drawn; default: there is the data set alone.
        **options: Of torchmetrics' `Metric`.
    """

    full_state_update = False

    def __init__(self, resampling: Resampling = _ONCE, **options: Any) -> None:
        super().__init__(**options)
        self.resampling = resampling

    def add_sums(self, *names: str, shape: tuple[int, ...] = ()) -> None:
        """Add states that sum over images, `[1 + R, *shape]` float64; where a length is 1, any will do."""
        for name in names:
            start = torch.zeros(1 + self.resampling.replicates, *shape, dtype=torch.double)
            self.add_state(name, start, dist_reduce_fx="sum")

    def add_rows(self, *names: str) -> None:
        """Add states that keep a row for each image."""
        for name in names:
            self.add_state(name, [], dist_reduce_fx="cat")

    def add(self, index: Tensor, **values: Tensor) -> None:
        """Add what images have to sums, as often as they are drawn.

        Args:
            index: `[B]`.
            **values: Name of the state to `[B]` or `[B, C]`.
        """
        weights = self.resampling.weights(index)  # (B, 1 + R)
        for name, value in values.items():
            setattr(self, name, getattr(self, name) + weights.T @ value.to(weights))


def alone() -> bool:
    """Say that there are no other processes, to metrics of which each process has its own.

    Left to themselves, torchmetrics wait at `compute` until all processes compute the same.
    """
    return False


def apart(metrics: MetricCollection) -> MetricCollection:
    """Have each process compute metrics of what it has seen itself."""
    for metric in metrics.values():
        metric.distributed_available_fn = alone
    return metrics


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Divide; NaN where the whole is nothing."""
    return part / whole.where(whole > 0, torch.nan)
