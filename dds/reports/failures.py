"""The images that fail worst."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dds.batch import UNTOUCHED
from dds.results.layout import is_attacked


@dataclass(frozen=True)
class Failure:
    """An image under the attack that harms it most.

    Attributes:
        index: The image's place in its data set.
        key: The condition.
        before: The task's score without attack and defence.
        after: The score under the condition, a mean over draws.
        loss: The task's loss there, None where it is not recorded.
    """

    index: int
    key: str
    before: float
    after: float
    loss: float | None


def worst_images(
    rows: pa.Table, summary: Mapping[str, Any], score: str, defence: str | None
) -> list[Failure]:
    """Rank images by how far their score falls under attack; of equals, the larger loss is worse.

    Args:
        rows: Of `samples.parquet`.
        summary: The content of `summary.json`.
        score: The task's statistic that tells good from bad.
        defence: Key of the defence behind which images are attacked; None for no defence.

    Returns:
        Every image with the attack that harms it most, the worst image first.
    """
    keys = [e["key"] for e in summary["conditions"] if is_attacked(e) and e["defence"] == defence]
    clean = {image["index"]: image[f"{score}_mean"] for image in _means(rows, [UNTOUCHED], score)}
    before = {index: value for index, value in clean.items() if isfinite(value)}
    images = [image for image in _means(rows, keys, score) if image["index"] in before]
    failures = [_failure(image, before[image["index"]], score) for image in images]
    sign = -1 if summary["lower_is_better"] else 1
    failures.sort(key=lambda one: (sign * (one.before - one.after), one.loss or 0), reverse=True)
    worst: dict[int, Failure] = {}
    for failure in failures:
        worst.setdefault(failure.index, failure)
    return list(worst.values())


def _means(rows: pa.Table, keys: list[str], score: str) -> list[dict[str, Any]]:
    chosen = rows.filter(pc.is_in(rows["condition"], pa.array(keys, pa.string())))
    wanted = [(name, "mean") for name in (score, "loss") if name in rows.column_names]
    means: list[dict[str, Any]] = chosen.group_by(["condition", "index"]).aggregate(wanted).to_pylist()
    return means


def _failure(image: Mapping[str, Any], before: float, score: str) -> Failure:
    after, loss = image[f"{score}_mean"], image.get("loss_mean")
    return Failure(image["index"], image["condition"], before, after, loss)
