"""Average precision on resampled data sets: each image counts as often as it was drawn."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.utilities.data import dim_zero_cat

from dds.metrics.resampled import Resampled

Array = NDArray[np.float64]


def average_precision(scores: NDArray[np.floating], positive: NDArray[np.bool_], weights: Array) -> Array:
    """Compute the area under the precision-recall curve, as scikit-learn and torchmetrics do.

    Args:
        scores: `[N]`; equal ones are one point of the curve.
        positive: `[N]` bool.
        weights: `[R, N]`, how often each item is in each data set.

    Returns:
        `[R]`; NaN where a data set has no positive item.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.diff(scores[order], append=-np.inf) != 0  # of equal scores
    found = np.cumsum(weights[:, order] * positive[order], axis=1)[:, last]  # (R, points)
    seen = np.cumsum(weights[:, order], axis=1)[:, last]
    precision = found / np.maximum(seen, 1)
    area = (np.diff(found, axis=1, prepend=0) * precision).sum(1)
    average: Array = area / _positive(weights @ positive)
    return average


def mean_over_classes(each: Array) -> Array:
    """Average over the classes that a data set has, `[C, R]` to `[R]`; NaN where it has none."""
    average: Array = np.nansum(each, axis=0) / _positive(np.isfinite(each).sum(0))
    return average


class LabelAveragePrecision(Resampled):
    """Average precision of each label, averaged over those that some image shows.

    Labels that are not known (-1) are left out. On the data set itself it is torchmetrics'
    `MultilabelAveragePrecision`, which takes no weights.

    Example:
        >>> metric = LabelAveragePrecision()
        >>> seen, shown = torch.tensor([[0.9, 0.2], [0.4, 0.6]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> metric.update(torch.arange(2), probability=seen, labels=shown)
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
    """

    index: list[Tensor]
    probability: list[Tensor]
    labels: list[Tensor]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_rows("index", "probability", "labels")

    def update(self, index: Tensor, probability: Tensor, labels: Tensor) -> None:
        """Add images.

        Args:
            index: `[B]` their places in the data set.
            probability: `[B, C]`.
            labels: `[B, C]`, 1 for what the image shows, 0 else, -1 where that is not known.
        """
        self.index.append(index)
        self.probability.append(probability)
        self.labels.append(labels)

    def compute(self) -> Tensor:
        """Return the mean on each data set, `[1 + R]`; NaN where it shows no label."""
        weights = self.resampling.weights(dim_zero_cat(self.index)).T.numpy()  # (1 + R, N)
        columns = zip(
            dim_zero_cat(self.probability).T.cpu().numpy(),
            dim_zero_cat(self.labels).T.cpu().numpy(),
            strict=True,
        )
        each = [
            average_precision(probability[labels >= 0], labels[labels >= 0] > 0, weights[:, labels >= 0])
            for probability, labels in columns
        ]  # C of (1 + R,)
        return torch.from_numpy(mean_over_classes(np.array(each)))


def _positive(count: Array) -> Array:
    """Return what to divide by, so that nothing divided by nothing is NaN."""
    return np.where(count > 0, count, np.nan)
