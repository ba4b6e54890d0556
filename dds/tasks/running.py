from torch import Tensor
from torchmetrics import MetricCollection

from dds.metrics.intervals import Interval, interval
from dds.metrics.mean import Mean
from dds.metrics.resampled import alone
from dds.metrics.resampling import Resampling
from dds.metrics.robustness import MeanOverDraws

RESAMPLING = Resampling(replicates=100)
"""Fewer data sets than a summary has, but enough to see how far a value is to be trusted."""


class Running:
    """What a condition comes to on the images so far, for the eyes of people who wait.

    Args:
        metrics: The task's, on `RESAMPLING`.
        utility: Name of the one that is shown.
    """

    def __init__(self, metrics: MetricCollection, utility: str) -> None:
        self._metrics, self._utility = MeanOverDraws(metrics), utility
        self._loss = Mean("loss", resampling=RESAMPLING, distributed_available_fn=alone)
        self._seen: set[int] = set()

    def update(self, index: Tensor, statistics: dict[str, Tensor]) -> None:
        """Add images that are new.

        Args:
            index: `[B]` their places in the data set.
            statistics: What was measured of them under each of K draws, `[K, B]` or `[K, B, ...]`.
        """
        new = [place for place, image in enumerate(index.tolist()) if image not in self._seen]
        if not new:
            return
        self._seen.update(index[new].tolist())
        statistics = {name: value[:, new] for name, value in statistics.items()}
        self._metrics.update(index[new], **statistics)
        if "loss" in statistics:
            self._loss.update(index[new], loss=statistics["loss"].double().mean(0))

    def compute(self) -> dict[str, Interval]:
        """Return the utility and, where it is known, the `loss`."""
        loss = {"loss": interval(self._loss.compute())} if self._loss.update_called else {}
        return {self._utility: interval(self._metrics.compute()[self._utility])} | loss
