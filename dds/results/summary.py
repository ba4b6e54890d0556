"""From samples to metrics with intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dds.protocol import CLEAN, Condition
from dds.results.samples import to_arrays
from dds.tasks import BaseTask

SCHEMA = 1
REPLICATES = 1000
CONFIDENCE = 95.0

Array = NDArray[np.float64]
Metrics = dict[str, Array]  # name to [1 + REPLICATES], the value on all images first

FIDELITY = ("psnr", "ssim", "linf", "l2", "feature_cosine")
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
    against the clean images without defence, both resampled alike.

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
    weights = _bootstrap_weights(images, seed)
    baseline: Array | None = None
    entries = []
    for condition in conditions:
        metrics = _condition_metrics(task, _rows(samples, condition.key), weights)
        if votes is not None and condition.draws > 1 and not condition.fixed_noise:
            combined = to_arrays(_rows(votes, condition.key))
            metrics |= {f"{k}_vote": v for k, v in task.metrics(combined, weights).items()}
        if condition.attack == CLEAN and condition.defence is None:
            baseline = metrics[task.utility]
        entries.append(_entry(condition, metrics, _drop(task, metrics, baseline)))
    return entries


def _rows(table: pa.Table, key: str) -> pa.Table:
    return table.filter(pc.equal(table["condition"], key))


def _bootstrap_weights(images: int, seed: int) -> Array:
    """Return how often each image is drawn, `[1 + REPLICATES, images]`; first each once."""
    random = np.random.default_rng(seed)
    resampled = random.multinomial(images, np.full(images, 1 / images), size=REPLICATES)
    return np.concatenate([np.ones((1, images)), resampled])


def _condition_metrics(task: type[BaseTask], rows: pa.Table, weights: Array) -> Metrics:
    images = weights.shape[1]
    draws = len(rows) // images
    stacked = {  # rows are sorted by image, then draw: (images, draws, ...)
        name: value.reshape(images, draws, *value.shape[1:]) for name, value in to_arrays(rows).items()
    }
    each = [task.metrics({k: v[:, d] for k, v in stacked.items()}, weights) for d in range(draws)]
    metrics = {name: np.mean([one[name] for one in each], axis=0) for name in each[0]}
    if draws > 1:
        worst = _worst_draw(task, stacked[task.score])
        chosen = {name: value[np.arange(images), worst] for name, value in stacked.items()}
        metrics |= {f"{k}_worst": v for k, v in task.metrics(chosen, weights).items()}
    shared = {name: stacked[name].mean(1) for name in FIDELITY if name in stacked}
    return metrics | {name: weights @ value / images for name, value in shared.items()}


def _worst_draw(task: type[BaseTask], score: Array) -> NDArray[np.int64]:
    worst: NDArray[np.int64] = np.argmax(score if task.lower_is_better else -score, axis=1)
    return worst  # (images,) of (images, draws)


def _drop(task: type[BaseTask], metrics: Metrics, baseline: Array | None) -> Array | None:
    """Return the part of the clean utility that is lost, or for an error by which part it has grown."""
    if baseline is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        change = metrics[task.utility] / baseline - 1
    return change if task.lower_is_better else -change


def _entry(condition: Condition, metrics: Metrics, drop: Array | None) -> dict[str, Any]:
    level = condition.defence.level if condition.defence else None
    return {
        "key": condition.key,
        "attack": condition.attack,
        "attacker_sees": condition.attacker_sees,
        "defence": str(condition.defence) if condition.defence else None,
        "t": level.t if level else None,
        "sigma": level.sigma if level else None,
        "draws": condition.draws,
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
