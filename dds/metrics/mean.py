from typing import Any

import torch
from torch import Tensor

from dds.metrics.resampled import Resampled, ratio


class Mean(Resampled):
    """The mean over images of something measured of each; NaN over none.

    As torchmetrics' `MeanMetric`, on resampled data sets too.

    Args:
        statistic: Name of what is measured, `[B]`.
        over: Name of what says how much each image counts, `[B]`, e.g. 0 or 1; default: all count alike.
        **options: Those of `Resampled`.

    Example:
        >>> metric = Mean("rmse", over="known")
        >>> metric.update(torch.arange(3), rmse=torch.tensor([1.0, 2.0, 9.0]), known=torch.tensor([1, 1, 0]))
        >>> metric.compute()
        tensor(1.5000, dtype=torch.float64)
    """

    total: Tensor
    images: Tensor

    def __init__(self, statistic: str, over: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.statistic, self.over = statistic, over
        self.add_sums("total", "images")

    def update(self, index: Tensor, **statistics: Tensor) -> None:
        """Add images.

        Args:
            index: `[B]` their places in the data set.
            **statistics: What was measured of them, `[B]` each.
        """
        value = statistics[self.statistic].double()
        counted = torch.ones_like(value) if self.over is None else statistics[self.over].double()
        self.add(index, total=torch.where(counted > 0, counted * value, 0.0), images=counted)

    def compute(self) -> Tensor:
        """Return the mean on each data set, `[1 + R]`."""
        return ratio(self.total, self.images)
