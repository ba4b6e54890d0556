from typing import Any

from torch import Tensor

from dds.metrics.resampled import Resampled, ratio


class LabelAccuracy(Resampled):
    """The share of right yes-or-no answers on known labels, as torchmetrics' `MultilabelAccuracy`.

    Example:
        >>> import torch
        >>> metric = LabelAccuracy()
        >>> labels = torch.tensor([[1.0, 0.0], [1.0, -1.0]])
        >>> metric.update(torch.arange(2), accuracy=torch.tensor([0.5, 1.0]), labels=labels)
        >>> metric.compute()
        tensor(0.6667, dtype=torch.float64)
    """

    right: Tensor
    answers: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_sums("right", "answers")

    def update(self, index: Tensor, accuracy: Tensor, labels: Tensor) -> None:
        """Add images: `accuracy` over the known labels, `[B]`; `labels` `[B, C]`, -1 where unknown."""
        known = (labels >= 0).sum(1)
        self.add(index, right=known * accuracy.double(), answers=known)

    def compute(self) -> Tensor:
        """Return the share on each data set, `[1 + R]`; NaN where nothing is known."""
        return ratio(self.right, self.answers)
