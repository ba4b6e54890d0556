from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torchmetrics import Metric, MetricCollection

from dds.batch import MARKS
from dds.metrics.mean import Mean
from dds.metrics.resampled import alone, apart
from dds.metrics.resampling import Resampling
from dds.metrics.robustness import AttackSuccess, MeanOverDraws, Values, WorstDraw

SHARED = ("loss", "psnr", "ssim", "linf", "l2", "feature_cosine")
"""Statistics of every task, whose metric is their mean."""


class ConditionMetrics:
    """All metrics of one condition: attack, what the attacker sees, defence.

    A metric's plain name is its mean over noise draws; `_worst` takes the worst draw of each image, `_vote`
    the combined decision of all draws.

    Args:
        metrics: The task's.
        resampling: How data sets are resampled.
        score: The statistic by which draws are compared.
        lower_is_better: Whether it measures an error.
        right: The statistic that is 1 for a right and 0 for a wrong answer, if there is one.

    Attributes:
        mean: The task's metrics, averaged over draws.
    """

    def __init__(
        self,
        metrics: MetricCollection,
        resampling: Resampling,
        score: str,
        lower_is_better: bool = False,
        right: str | None = None,
    ) -> None:
        self.mean, self._worst = MeanOverDraws(metrics), WorstDraw(metrics, score, lower_is_better)
        self._vote, self._right = apart(metrics.clone(postfix="_vote")), right
        own: dict[str, Any] = {"resampling": resampling, "distributed_available_fn": alone}
        self._shared = {name: Mean(name, **own) for name in (*SHARED, *MARKS)}
        self._success = AttackSuccess(**own)
        self._fed: dict[str, Metric | MetricCollection] = {}

    def update(
        self,
        index: Tensor,
        draws: Mapping[str, Tensor],
        combined: Mapping[str, Tensor] | None = None,
        right_before: Tensor | None = None,
    ) -> None:
        """Add images.

        Args:
            index: `[B]` their places in the data set.
            draws: What was measured of them under each of K noise draws, `[K, B]` or `[K, B, ...]`.
            combined: The same of the combined decision over all draws, `[B]` or `[B, ...]`; None if there
                is none.
            right_before: `[K, B]`, the statistic `right` without attack, through the same defence; None if
                this is without attack.
        """
        self._feed("mean", self.mean, index, draws)
        if len(next(iter(draws.values()))) > 1:
            self._feed("worst", self._worst, index, draws)
        for name in [name for name in self._shared if name in draws]:
            value = draws[name].double()  # (K, B)
            self._feed(
                name, self._shared[name], index, {name: value.amax(0) if name in MARKS else value.mean(0)}
            )
        if right_before is not None and self._right is not None:
            right = {"right": draws[self._right], "right_before": right_before}
            self._feed("success", self._success, index, right)
        if combined is not None:
            self._feed("vote", self._vote, index, combined)

    def _feed(
        self, name: str, metric: Metric | MetricCollection, index: Tensor, statistics: Mapping[str, Tensor]
    ) -> None:
        self._fed[name] = metric
        metric.update(index=index, **statistics)

    def compute(self) -> Values:
        """Return each metric on each data set, `[1 + R]`, of what there was."""
        values: Values = {}
        for name, metric in self._fed.items():
            found = metric.compute()
            values |= {name: found} if isinstance(found, Tensor) else found
        return values
