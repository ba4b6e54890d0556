"""Robustness: what attacks and noise draws leave of a task's metrics, as metrics.

Each takes states, not numbers, so that on resampled data sets all of its parts are resampled alike.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.wrappers.abstract import WrapperMetric

from dds.metrics.resampled import Resampled, apart, ratio

Values = dict[str, Tensor]


class MeanOverDraws(WrapperMetric):
    """The mean over noise draws of what metrics come to on each.

    Args:
        metrics: The metrics; each draw has its own.
    """

    def __init__(self, metrics: MetricCollection) -> None:
        super().__init__()
        self.metrics = apart(metrics)
        self.draws: list[MetricCollection] = []

    def update(self, index: Tensor, **statistics: Tensor) -> None:
        """Add images under all draws.

        Args:
            index: `[B]` their places in the data set.
            **statistics: What was measured of them under each draw, `[K, B]` or `[K, B, ...]`.
        """
        for number, draw in enumerate(_draws(statistics)):
            if number == len(self.draws):
                self.draws.append(self.metrics.clone())
            self.draws[number].update(index=index, **draw)

    def compute(self) -> Values:
        """Return the mean of each metric on each data set, `[1 + R]`."""
        each = [draw.compute() for draw in self.draws]
        return {name: torch.stack([values[name] for values in each]).mean(0) for name in each[0]}

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self.draws = []


class WorstDraw(WrapperMetric):
    """What metrics come to if each image meets the worst of its noise draws; called `<metric>_worst`.

    Args:
        metrics: The metrics.
        score: The statistic by which draws are compared.
        lower_is_better: Whether it measures an error.
    """

    def __init__(self, metrics: MetricCollection, score: str, lower_is_better: bool = False) -> None:
        super().__init__()
        self.metrics = apart(metrics.clone(postfix="_worst"))
        self.score, self.lower_is_better = score, lower_is_better

    def update(self, index: Tensor, **statistics: Tensor) -> None:
        """Add images under all draws, as to `MeanOverDraws`; of equal draws the first is the worst."""
        score = statistics[self.score]
        worst = (score if self.lower_is_better else -score).argmax(0)  # (B,) of (K, B)
        chosen = {name: value[worst, torch.arange(len(worst))] for name, value in statistics.items()}
        self.metrics.update(index=index, **chosen)

    def compute(self) -> Values:
        """Return each metric on each data set, `[1 + R]`."""
        return self.metrics.compute()

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self.metrics.reset()


class AttackSuccess(Resampled):
    """How often an answer is wrong: of all images, and of those that were right before the attack.

    Example:
        >>> metric = AttackSuccess()
        >>> right, before = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[1.0, 0.0, 1.0, 1.0]])
        >>> metric.update(torch.arange(4), right=right, right_before=before)
        >>> {name: round(value.item(), 3) for name, value in metric.compute().items()}
        {'attack_success': 0.5, 'attack_success_on_correct': 0.333}
    """

    wrong: Tensor
    images: Tensor
    broken: Tensor
    before: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_sums("wrong", "images", "broken", "before")

    def update(self, index: Tensor, right: Tensor, right_before: Tensor) -> None:
        """Add images.

        Args:
            index: `[B]` their places in the data set.
            right: `[K, B]`, 1 where the answer is right, else 0, under each draw.
            right_before: The same of the images that are not attacked, through the same defence.
        """
        wrong = 1 - right.double()
        self.add(
            index,
            wrong=wrong.mean(0),
            images=torch.ones(len(index)),
            broken=(right_before * wrong).mean(0),
            before=right_before.double().mean(0),
        )

    def compute(self) -> Values:
        """Return both shares on each data set, `[1 + R]`; NaN where no image was right before."""
        return {
            "attack_success": ratio(self.wrong, self.images),
            "attack_success_on_correct": ratio(self.broken, self.before),
        }


class UtilityDrop(WrapperMetric):
    """The part of the clean utility that is lost; of an error, by which part it has grown.

    Args:
        metrics: Those of the condition.
        clean: Those of the clean images without defence, of the same data sets.
        utility: Name of the utility among them.
        lower_is_better: Whether it is an error.
    """

    def __init__(
        self, metrics: MeanOverDraws, clean: MeanOverDraws, utility: str, lower_is_better: bool = False
    ) -> None:
        super().__init__()
        self.metrics, self.clean = metrics, clean
        self.utility, self.lower_is_better = utility, lower_is_better

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the metrics are updated where they belong."""

    def compute(self) -> Tensor:
        """Return the drop on each data set, `[1 + R]`."""
        left = self.metrics.compute()[self.utility] / self.clean.compute()[self.utility]
        return left - 1 if self.lower_is_better else 1 - left


def _draws(statistics: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    number = len(next(iter(statistics.values())))
    return [{name: value[draw] for name, value in statistics.items()} for draw in range(number)]
