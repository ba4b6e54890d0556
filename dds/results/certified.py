"""What is guaranteed: the certificates of a run's noise draws."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from dds.callbacks import CertificateDraws
from dds.certificates import (
    Asked,
    Certificate,
    Way,
    anytime_lower_bound,
    anytime_radius,
    certify_data_set,
    certify_image,
    clopper_pearson,
    median_lower_bound,
    verdict_together,
)
from dds.certificates.bounds import Floats
from dds.protocol import CLEAN, Defence
from dds.protocol.conditions import UNSEEN
from dds.runs.job import Job
from dds.runs.run_folder import RunFolder
from dds.runs.samples import to_draws, to_tensors, write_parquet
from dds.tasks import BaseTask

STATEMENTS = {
    "score": (
        "the mean over these images of the expected score of the defence as it is deployed, each image moved "
        "by the radius in L2; all radii of one score and level together"
    ),
    "vote, yes or no": (
        "the share of these images (or, of each, of its objects or labels) that most draws answer rightly, "
        "and still do within the radius in L2; each image and radius by itself"
    ),
    "vote, lower bound": (
        "the mean over these images of the least that their score may fall to within the radius in L2, of "
        "what draws vote on, pixel by pixel or edge by edge; each image and radius by itself"
    ),
    "vote, upper bound": (
        "the mean over these images of the most that their error may rise to within the radius in L2, of "
        "what draws vote on, pixel by pixel; each image and radius by itself"
    ),
    "vote, all images together": (
        "the least that the metric may fall to over all images, each moved by the radius in L2, of what "
        "draws vote on, pixel by pixel; true where all that is said of single images is: each is false with "
        "probability alpha at most, so any of n with n alpha"
    ),
    "vote, median": (
        "the mean over these images of the least that the median over draws of their score may fall to "
        "within the radius in L2; each image and radius by itself"
    ),
}
"""What the values of each kind, and each way to vote, speak of, with probability 1 - alpha."""

Columns = Mapping[str, Any]


def certify_run(job: Job, folder: RunFolder, certificate: Certificate) -> dict[str, Any]:
    """Write `certificates.parquet` of a merged run of `CertificateDraws`.

    Args:
        job: The run's.
        folder: Of the run.
        certificate: What is to be certified.

    Returns:
        What `summary.json` says of it as `certificates`.
    """
    protocol, task = job.protocol, job.task
    assert isinstance(protocol, CertificateDraws)
    samples, votes = folder.open_tables()
    rows: list[pa.Table] = []
    entries: list[dict[str, Any]] = []
    statements: dict[str, str] = {}
    for defence, sigma in protocol.sigmas.items():
        key, asked = f"{CLEAN}/{UNSEEN}/{defence}", certificate.asked(sigma, task.chooses)
        index, draws = to_draws(samples.of(key))
        found = []
        if "score" in protocol.kinds:
            found += [*_scores(task, task.unit_scores(draws), sigma, asked)]
        if "vote" in protocol.kinds:
            assert votes is not None
            found += [*_votes(task, task.unit_scores(draws), to_tensors(votes.of(key)), sigma, asked)]
        for one in found:
            said = _of_level(defence, sigma) | one.entry
            statements[one.way] = STATEMENTS[one.way]
            entries.append(said | {"images": int(one.counts.sum())})
            if one.images:
                rows.append(_rows(said, index[torch.from_numpy(one.counts)].tolist(), one.images))
    write_parquet(pa.concat_tables(rows), folder.certificates)
    return {
        "alpha": certificate.alpha,
        "draws": protocol.draws,
        "selection_draws": protocol.selection_draws,
        "max_draws": certificate.max_draws if protocol.sequential else None,
        "statements": statements,
        "refused": protocol.refused,
        "entries": entries,
    }


class Found:
    """A certificate of a data set, and of each of its images.

    Args:
        kind: `score` or `vote`.
        way: Which of `STATEMENTS` it makes.
        score: What it is about.
        radius: L2.
        counts: `[I]` bool, the N images that count.
        images: Column to `[N]`, or to lists; `value` and `mean` (without an attacker) among them. Empty where
            nothing is certified of single images.
        value: Of the data set; default: the mean over images.
        mean: Likewise.
        **more: What else the summary says.
    """

    def __init__(
        self,
        kind: str,
        way: str,
        score: str,
        radius: float,
        counts: Any,
        images: Columns,
        value: float | None = None,
        mean: float | None = None,
        **more: Any,
    ) -> None:
        self.counts, self.images = counts, images
        value = float(np.mean(images["value"])) if value is None else value
        mean = float(np.mean(images["mean"])) if mean is None else mean
        self.way = kind if kind == way else f"{kind}, {way}"
        self.entry = {"kind": kind, "score": score, "radius": radius, "mean": mean, "value": value}
        self.entry |= {"lower_is_better": way == "upper bound", **more}


def _scores(task: BaseTask, scores: Columns, sigma: float, asked: Asked) -> Iterator[Found]:
    """Certify expected scores, `[K, I]` each."""
    for name, given in scores.items():
        counts = ~np.isnan(every := given.numpy()).any(0)
        if not counts.any():
            continue
        drawn, yes_or_no = every[:, counts], name in task.zero_or_one
        each = np.array([certify_image(one, asked.ratios, asked.alpha, yes_or_no) for one in drawn.T])
        whole = certify_data_set(drawn, asked.ratios, asked.alpha, *([1] if yes_or_no else []))
        images: dict[str, Any] = {"mean": drawn.mean(0), "draws": np.full(drawn.shape[1], len(drawn))}
        if yes_or_no:
            images["counts"] = drawn.sum(0).astype(int)[:, None]
            images["bound"] = clopper_pearson(drawn.sum(0), len(drawn), asked.alpha)
        for place, ratio in enumerate(asked.ratios):
            own = {**images, "value": each[:, place]}
            yield Found(
                "score", "score", name, ratio * sigma, counts, own, float(whole[place]), draws=len(drawn)
            )


def _votes(task: BaseTask, scores: Columns, combined: Columns, sigma: float, asked: Asked) -> Iterator[Found]:
    """Certify what draws vote on.

    Args:
        task: Whose votes.
        scores: Name to `[K, I]` on all draws.
        combined: What was recorded of the decision over all draws, `[I]` or `[I, ...]`.
        sigma: Of the level.
        asked: Radii and alpha.
    """
    clean = {**combined, **task.unit_scores(dict(combined))}
    for name, way in task.votes.items():
        if way == "yes or no":
            yield from _yes_or_no(name, combined, sigma, asked)
        elif way == "median":
            yield from _medians(name, scores[name].numpy(), sigma, asked)
        else:
            drawn = len(next(iter(scores.values()))) - asked.selection_draws
            yield from _bounds(name, way, combined, clean[name].numpy(), drawn, sigma, asked)
    yield from _together(task, combined, sigma, asked)


def _together(task: BaseTask, combined: Columns, sigma: float, asked: Asked) -> Iterator[Found]:
    for name, (mean, least) in task.pool(dict(combined)).items():
        counts = np.ones(len(next(iter(combined.values()))), bool)
        for ratio, value in zip(asked.ratios, least, strict=True):
            yield Found("vote", "all images together", name, ratio * sigma, counts, {}, value, mean)


def _yes_or_no(name: str, combined: Columns, sigma: float, asked: Asked) -> Iterator[Found]:
    draws = combined[f"{name}_draws"].numpy().astype(int)  # (I, R)
    yes: NDArray[Any] = combined[f"{name}_yes"].numpy().astype(int).reshape(*draws.shape, -1)  # (I, R, Q)
    counts = (yes[:, 0] >= 0).any(1)
    single = ((yes[counts, 0] >= 0).sum(1) == 1).all()
    if single:
        agreeing = yes[counts].max(2)  # (N, R): the one that is not -1
        reach = np.nan_to_num(anytime_radius(agreeing, draws[counts], sigma, asked.alpha), nan=-1).max(1)
    for place, ratio in enumerate(asked.ratios) if counts.any() else ():
        own = [one[one >= 0] for one in yes[counts, place]]
        taken = draws[counts, place]
        verdicts = [
            verdict_together(one, int(drawn), ratio, asked.alpha)
            for one, drawn in zip(own, taken, strict=True)
        ]
        images = {
            "mean": combined[f"{name}_mean"].numpy()[counts],
            "value": np.array([(one == "certified").mean() for one in verdicts]),
            "counts": own,
            "draws": taken,
            "decided": np.array([(one != "open").all() for one in verdicts]),
        }
        if single:
            images["bound"] = anytime_lower_bound(agreeing[:, place], taken, asked.alpha)
            images["certified_radius"] = np.where(reach >= 0, reach, np.nan)
        yield Found("vote", "yes or no", name, ratio * sigma, counts, images, draws=float(taken.mean()))


def _medians(name: str, scores: Floats, sigma: float, asked: Asked) -> Iterator[Found]:
    counts = ~np.isnan(scores).any(0)
    drawn = scores[:, counts]
    for ratio in asked.ratios if counts.any() else ():
        least = np.array([max(median_lower_bound(one, ratio, asked.alpha), 0.0) for one in drawn.T])
        images = {"mean": np.median(drawn, 0), "value": least, "bound": least}
        images["draws"] = np.full(len(least), len(drawn))
        yield Found("vote", "median", name, ratio * sigma, counts, images, draws=len(drawn))


def _bounds(
    name: str, way: Way, combined: Columns, clean: Floats, drawn: int, sigma: float, asked: Asked
) -> Iterator[Found]:
    values = combined[f"{name}_certified"].numpy()  # (I, R)
    counts = ~np.isnan(values).any(1)
    for place, ratio in enumerate(asked.ratios) if counts.any() else ():
        images = {"mean": clean[counts], "value": values[counts, place], "bound": values[counts, place]}
        images["draws"] = np.full(int(counts.sum()), drawn)
        if f"{name}_counts" in combined:
            numbers = combined[f"{name}_counts"].numpy().astype(int)
            images["counts"] = numbers.reshape(*values.shape, -1)[counts, place]
        more: dict[str, Any] = {"draws": drawn}
        if "abstained" in combined:
            more["abstained"] = float(combined["abstained"].numpy()[counts, place].mean())
        yield Found("vote", way, name, ratio * sigma, counts, images, **more)


def _of_level(defence: Defence, sigma: float) -> dict[str, Any]:
    return {"defence": str(defence), "t": defence.level.t if defence.level else None, "sigma": sigma}


def _rows(said: Mapping[str, Any], index: Sequence[int], images: Columns) -> pa.Table:
    """Lay out a row for each image: which certificate it is, what it comes to, and of what counts."""
    kinds = {"defence": pa.string(), "t": pa.int64(), "sigma": pa.float64(), "kind": pa.string()}
    kinds |= {"score": pa.string(), "radius": pa.float64()}
    numbers = {"mean": pa.float64(), "value": pa.float64(), "certified_radius": pa.float64()}
    numbers |= {"bound": pa.float64(), "decided": pa.bool_(), "draws": pa.int64()}
    numbers["counts"] = pa.list_(pa.int64())
    columns = {"index": pa.array(index, pa.int64())}
    columns |= {name: pa.array([said[name]] * len(index), kind) for name, kind in kinds.items()}
    for name, kind in numbers.items():
        given = images.get(name)
        if name == "counts" and given is not None:
            given = list(given)
        columns[name] = pa.nulls(len(index), kind) if given is None else pa.array(given, kind)
    return pa.table(columns)
