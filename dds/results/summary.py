"""From samples to metrics with intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dds.batch import MARKS
from dds.protocol import CLEAN, Condition, Defence
from dds.runs.job import Job
from dds.runs.run_folder import RunFolder
from dds.runs.samples import to_arrays
from dds.tasks import BaseTask

REPLICATES = 1000
CONFIDENCE = 95.0

Array = NDArray[np.float64]
Metrics = dict[str, Array]  # name to [1 + REPLICATES], the value on all images first

SHARED = ("loss", "psnr", "ssim", "linf", "l2", "feature_cosine")
"""Statistics of every task, whose metric is their mean."""


def summarise(
    task: type[BaseTask],
    conditions: Sequence[Condition],
    samples: pa.Table,
    votes: pa.Table | None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compute every metric of every condition, with 95 % bootstrap intervals over images.

    A metric's plain name is its mean over draws; `_worst` takes the worst draw of each image, `_vote` the
    combined decision of all draws. `utility_drop` is the relative loss of utility (growth of an error)
    against the clean images without defence, both resampled alike. Where an answer is right or wrong,
    `attack_success` is the share of wrong ones, and `attack_success_on_correct` the same among the images
    that were right before, through the same defence.

    Args:
        task: Whose `metrics` are computed.
        conditions: In the order of the result.
        samples: Rows of `samples.parquet`.
        votes: Rows of `votes.parquet`.
        seed: Of the bootstrap.

    Returns:
        One entry a condition, as in `summary.json`.
    """
    images = len(np.unique(samples["index"].to_numpy()))
    weights = bootstrap_weights(images, seed)
    baseline: Array | None = None
    right_before: dict[Defence | None, Array] = {}
    entries = []
    for condition in conditions:
        stacked = _stack(_rows(samples, condition.key), images)
        metrics = _condition_metrics(task, stacked, weights)
        if task.right is not None and condition.attack == CLEAN:
            right_before[condition.defence] = stacked[task.right]
        elif task.right is not None:
            metrics |= _success(stacked[task.right], right_before[condition.defence], weights)
        if votes is not None and condition.draws > 1 and not condition.fixed_noise:
            combined = to_arrays(_rows(votes, condition.key))
            metrics |= {f"{k}_vote": v for k, v in task.metrics(combined, weights).items()}
        if condition.attack == CLEAN and condition.defence is None:
            baseline = metrics[task.utility]
        entries.append(_entry(condition, metrics, _drop(task, metrics, baseline)))
    return entries


def write_summary(job: Job, folder: RunFolder) -> dict[str, Any]:
    """Write `summary.json` of a merged run, and return its content."""
    samples, votes = folder.read_tables()
    entries = summarise(type(job.task), job.grid.conditions, samples, votes, job.protocol.seed)
    summary = {**job.head(), "seconds": folder.seconds(), "conditions": entries}
    folder.write_summary(summary)
    return summary


def resampled_utility(task: type[BaseTask], samples: pa.Table, key: str, weights: Array) -> Array:
    """Compute a condition's utility, its mean over draws, on all images and on each resampled data set.

    Args:
        task: Whose utility it is.
        samples: Rows of `samples.parquet`.
        key: The condition.
        weights: `[1 + REPLICATES, images]`, as `bootstrap_weights` returns them.

    Returns:
        `[1 + REPLICATES]`; differences and ratios of such are paired if the weights are the same.
    """
    return _mean_over_draws(task, _stack(_rows(samples, key), weights.shape[1]), weights)[task.utility]


def _rows(table: pa.Table, key: str) -> pa.Table:
    rows = table.filter(pc.equal(table["condition"], key))
    return rows.drop_columns([name for name in rows.column_names if rows[name].null_count == len(rows)])


def bootstrap_weights(images: int, seed: int) -> Array:
    """Return how often each image is drawn, `[1 + REPLICATES, images]`; first each once."""
    random = np.random.default_rng(seed)
    resampled = random.multinomial(images, np.full(images, 1 / images), size=REPLICATES)
    return np.concatenate([np.ones((1, images)), resampled])


def _stack(rows: pa.Table, images: int) -> dict[str, Array]:
    """Return each statistic as `[images, draws, ...]`, of rows that are sorted by image, then draw."""
    return {name: value.reshape(images, -1, *value.shape[1:]) for name, value in to_arrays(rows).items()}


def _success(right: Array, before: Array, weights: Array) -> Metrics:
    """Return how often an answer is wrong, on all images and on those that were right before the attack."""
    wrong, both = (1 - right).mean(1), (before * (1 - right)).mean(1)  # (images,) of (images, draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        on_correct = weights @ both / (weights @ before.mean(1))
    return {"attack_success": weights @ wrong / weights.sum(1), "attack_success_on_correct": on_correct}


def _condition_metrics(task: type[BaseTask], stacked: dict[str, Array], weights: Array) -> Metrics:
    images, draws = stacked[task.score].shape[:2]
    metrics = _mean_over_draws(task, stacked, weights)
    if draws > 1:
        worst = _worst_draw(task, stacked[task.score])
        chosen = {name: value[np.arange(images), worst] for name, value in stacked.items()}
        metrics |= {f"{k}_worst": v for k, v in task.metrics(chosen, weights).items()}
    shared = {name: stacked[name].mean(1) for name in SHARED if name in stacked}
    shared |= {name: stacked[name].max(1) for name in MARKS if name in stacked}  # in any draw
    return metrics | {name: weights @ value / images for name, value in shared.items()}


def _mean_over_draws(task: type[BaseTask], stacked: dict[str, Array], weights: Array) -> Metrics:
    draws = stacked[task.score].shape[1]
    each = [task.metrics({k: v[:, d] for k, v in stacked.items()}, weights) for d in range(draws)]
    return {name: np.mean([one[name] for one in each], axis=0) for name in each[0]}


def _worst_draw(task: type[BaseTask], score: Array) -> NDArray[np.int64]:
    worst: NDArray[np.int64] = np.argmax(score if task.lower_is_better else -score, axis=1)
    return worst  # (images,) of (images, draws)


def _drop(task: type[BaseTask], metrics: Metrics, baseline: Array | None) -> Array | None:
    """Return the part of the clean utility that is lost, or for an error by which part it has grown."""
    if baseline is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = metrics[task.utility] / baseline
    return ratio - 1 if task.lower_is_better else 1 - ratio


def _entry(condition: Condition, metrics: Metrics, drop: Array | None) -> dict[str, Any]:
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


def interval(replicates: Array) -> dict[str, float | None]:
    """Return the value on all images and the percentile interval of its bootstrap replicates."""
    finite = replicates[1:][np.isfinite(replicates[1:])]
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(finite, [tail, 100 - tail]) if len(finite) else (np.nan, np.nan)
    named = {"value": replicates[0], "low": low, "high": high}
    return {name: float(value) if np.isfinite(value) else None for name, value in named.items()}
