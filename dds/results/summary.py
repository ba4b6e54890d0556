"""From samples to metrics with intervals."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, Protocol

import pyarrow as pa
from torch import Tensor

from dds.certificates import Certificate
from dds.metrics.condition import ConditionMetrics
from dds.metrics.intervals import interval
from dds.metrics.resampling import Resampling
from dds.metrics.robustness import MeanOverDraws, UtilityDrop, Values
from dds.protocol import CLEAN, Condition, Defence
from dds.protocol.conditions import UNSEEN
from dds.results.bracket import bracketed
from dds.results.certified import certify_run
from dds.runs.job import Job
from dds.runs.run_folder import RunFolder
from dds.runs.samples import to_draws, to_tensors
from dds.tasks import BaseTask

_AT_ONCE = 4096  # images whose weights are held, 32 MB


class Rows(Protocol):
    """The rows of a table, as `Samples` reads them."""

    def of(self, condition: str) -> pa.Table:
        """Return those of a condition, by image, then draw, without statistics that none of them has."""


def summarise(
    task: type[BaseTask],
    conditions: Iterable[Condition],
    samples: Rows,
    votes: Rows | None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compute every metric of every condition, with 95 % bootstrap intervals over images.

    See `ConditionMetrics` for their names. `utility_drop` is against the clean images without defence; all
    conditions are resampled alike. Where an answer is right or wrong, `attack_success` is the share of wrong
    ones, and `attack_success_on_correct` the same among the images that were right before, through the same
    defence.

    Args:
        task: Whose `metrics` are computed.
        conditions: In the order of the result.
        samples: Of `samples.parquet`.
        votes: Of `votes.parquet`.
        seed: Of the bootstrap.

    Returns:
        One entry a condition, as in `summary.json`.
    """
    resampling = Resampling(seed)
    clean: MeanOverDraws | None = None
    right_before: dict[Defence | None, Tensor] = {}
    entries = []
    for condition in conditions:
        index, draws = to_draws(samples.of(condition.key))
        before = None
        if task.right is not None and condition.attack == CLEAN:
            right_before[condition.defence] = draws[task.right]
        elif task.right is not None and condition.attacker_sees != UNSEEN:
            before = right_before[condition.defence][: condition.draws]
        combined = None
        if votes is not None and condition.draws > 1 and not condition.fixed_noise:
            combined = to_tensors(votes.of(condition.key))
        metrics = _measure(task, resampling, index, draws, combined, before)
        if condition.attack == CLEAN and condition.defence is None:
            clean = metrics.mean
        drop = None
        if clean is not None:
            drop = UtilityDrop(metrics.mean, clean, task.utility, task.lower_is_better).compute()
        entries.append(_entry(condition, metrics.compute(), drop))
    return entries


def write_summary(job: Job, folder: RunFolder, certificate: Certificate | None = None) -> dict[str, Any]:
    """Write `summary.json` of a merged run, with what is certified of it, and return its content."""
    samples, votes = folder.open_tables()
    conditions = job.each_condition("Metrics and their intervals")
    entries = summarise(type(job.task), conditions, samples, votes, job.protocol.seed)
    summary = {**job.head(), **asdict(folder.spent()), "conditions": entries}
    if certificate is not None:
        summary["certificates"] = bracketed(job, folder, certify_run(job, folder, certificate))
    folder.write_summary(summary)
    return summary


def _measure(
    task: type[BaseTask],
    resampling: Resampling,
    index: Tensor,
    draws: Values,
    combined: Values | None,
    right_before: Tensor | None,
) -> ConditionMetrics:
    """Feed the metrics of a condition with its images, some at a time."""
    metrics = ConditionMetrics(
        task.metrics(resampling), resampling, task.score, task.lower_is_better, task.right
    )
    for some in _parts(len(index)):
        metrics.update(
            index[some],
            {name: value[:, some] for name, value in draws.items()},
            combined and {name: value[some] for name, value in combined.items()},
            None if right_before is None else right_before[:, some],
        )
    return metrics


def resampled_utility(task: type[BaseTask], rows: pa.Table, seed: int = 0) -> Tensor:
    """Compute a condition's utility, its mean over draws, on all images and on each resampled data set.

    Args:
        task: Whose utility it is.
        rows: The condition's of `samples.parquet`.
        seed: Of the bootstrap.

    Returns:
        `[1 + R]`; differences and ratios of such are paired if seed and images are the same.
    """
    index, draws = to_draws(rows)
    metrics = MeanOverDraws(task.metrics(Resampling(seed)))
    for some in _parts(len(index)):
        metrics.update(index[some], **{name: value[:, some] for name, value in draws.items()})
    return metrics.compute()[task.utility]


def _parts(images: int) -> Iterator[slice]:
    return (slice(start, start + _AT_ONCE) for start in range(0, images, _AT_ONCE))


def _entry(condition: Condition, metrics: Values, drop: Tensor | None) -> dict[str, Any]:
    level = condition.defence.level if condition.defence else None
    return {
        "key": condition.key,
        "attack": condition.name,
        "attacker_sees": condition.attacker_sees,
        "defence": str(condition.defence) if condition.defence else None,
        "t": level.t if level else None,
        "sigma": level.sigma if level else None,
        "draws": condition.draws,
        "straight_through": condition.straight_through,
        "metrics": {name: interval(value) for name, value in metrics.items()},
        "utility_drop": None if drop is None else interval(drop),
    }
