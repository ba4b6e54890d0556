"""What a segmentation run says of each class."""

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dds.batch import UNTOUCHED
from dds.results.layout import Summary
from dds.runs.samples import Samples, to_arrays

_COUNTS = ("intersection", "predicted", "labelled")

Scores = NDArray[np.float64]  # (C,), NaN for a class that does not occur


class ClassScores(NamedTuple):
    """The IoU of each class, over the whole data set.

    Attributes:
        names: The classes, in the order of their numbers; empty where the data module does not know.
        share: Of the labelled pixels, the part that is of each class.
        iou: For each condition, a mean over draws as the mIoU is.
    """

    names: list[str]
    share: Scores
    iou: dict[str, Scores]

    def rows(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """Return each class that occurs, with its IoU under conditions; None where it does not occur."""
        occurs = np.isfinite(list(self.iou.values())).any(0) | (self.share > 0)
        return [
            {
                "class": place,
                "name": name,
                "share": float(self.share[place]),
                "iou": [_known(self.iou[key][place]) for key in keys],
            }
            for place, name in enumerate(self.names)
            if occurs[place]
        ]

    def to_csv(self) -> str:
        """Write a line for each class that occurs: number, name, share of pixels, IoU by condition."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["class", "name", "share_of_pixels", *self.iou])
        for row in self.rows(list(self.iou)):
            writer.writerow([row["class"], row["name"], row["share"], *row["iou"]])
        return text.getvalue()


def class_scores(rows: Samples, summary: Summary) -> ClassScores | None:
    """Compute the IoU of each class under each condition.

    Args:
        rows: Of `samples.parquet`, each draw.
        summary: The content of `summary.json`.

    Returns:
        None of a run that did not count pixels of classes.
    """
    if not {*_COUNTS} <= {*rows.schema.names}:
        return None
    counts = {entry["key"]: _count(rows, entry["key"]) for entry in summary["conditions"]}
    labelled = counts[UNTOUCHED][:, 2].mean(0)
    known: Sequence[str] = summary.get("mask_names") or ()
    names = [*known[: len(labelled)], *[""] * (len(labelled) - len(known))]
    iou = {key: _iou(count) for key, count in counts.items()}
    return ClassScores(names, labelled / max(labelled.sum(), 1), iou)


def _count(rows: Samples, key: str) -> NDArray[np.float64]:
    """Sum the pixels of each class over the images, `[draws, 3, C]`."""
    chosen = rows.of(key, _COUNTS)
    counts = np.stack([to_arrays(chosen.select([name]))[name] for name in _COUNTS], axis=1)  # (rows, 3, C)
    draws = chosen["draw"].to_numpy()
    return np.stack([counts[draws == draw].sum(0) for draw in np.unique(draws)])


def _iou(counts: NDArray[np.float64]) -> Scores:
    hit, predicted, labelled = counts.transpose(1, 0, 2)  # (draws, C) each
    union = predicted + labelled - hit
    occurs = union > 0
    iou = np.where(occurs, hit / np.maximum(union, 1), 0).sum(0)
    return np.where(occurs.any(0), iou / np.maximum(occurs.sum(0), 1), np.nan)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
