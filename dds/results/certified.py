"""What is guaranteed: the certificates of a run's noise draws."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dds.callbacks import CertificateDraws
from dds.certificates import Certificate, certify_data_set, certify_image, radius
from dds.certificates.bounds import Floats
from dds.protocol import CLEAN, Defence
from dds.protocol.conditions import UNSEEN
from dds.runs.job import Job
from dds.runs.run_folder import RunFolder
from dds.runs.samples import to_draws, write_parquet
from dds.tasks import BaseTask

STATEMENTS = {
    "score": (
        "the mean over these images of the expected score of the defence as it is deployed, each image moved "
        "by the radius in L2; all radii of one score and level together"
    ),
    "vote": (
        "the share of these images whose answer by most draws is right and stays so within the radius in L2; "
        "each image by itself"
    ),
}
"""What the values of each kind speak of, with probability 1 - alpha."""


def certify_run(job: Job, folder: RunFolder, certificate: Certificate) -> dict[str, Any]:
    """Write `certificates.parquet` of a merged run of `CertificateDraws`.

    Args:
        job: The run's.
        folder: Of the run.
        certificate: What is to be certified.

    Returns:
        What `summary.json` says of it as `certificates`.
    """
    protocol = job.protocol
    assert isinstance(protocol, CertificateDraws)
    samples, _ = folder.open_tables()
    rows: list[pa.Table] = []
    entries: list[dict[str, Any]] = []
    for defence, sigma in protocol.sigmas.items():
        index, draws = to_draws(samples.of(f"{CLEAN}/{UNSEEN}/{defence}"))
        for name, values in job.task.unit_scores(draws).items():
            counts = ~np.isnan(scores := values.numpy()).any(0)
            for found in _certify(job.task, name, scores[:, counts], sigma, certificate):
                of_level = _of_level(defence, sigma)
                entries.append({**of_level, **found.entry, "images": int(counts.sum())})
                rows.append(_rows({**of_level, **found.entry}, index.numpy()[counts], found.images))
    write_parquet(pa.concat_tables(rows), folder.certificates)
    return {
        "alpha": certificate.alpha,
        "draws": certificate.draws,
        "statements": {kind: STATEMENTS[kind] for kind in {entry["kind"]: None for entry in entries}},
        "refused": protocol.refused,
        "entries": entries,
    }


class Found:
    """A certificate of a data set, and of each of its images.

    Args:
        kind: `score` or `vote`.
        score: What it is about.
        radius: L2.
        value: Of the data set.
        images: Column to `[N]`.
        mean: Of the score, without an attacker, over draws and images.
    """

    def __init__(
        self, kind: str, score: str, radius: float, value: float, images: Mapping[str, Any], mean: float
    ) -> None:
        self.entry = {"kind": kind, "score": score, "radius": radius, "mean": mean, "value": value}
        self.images = images


def _certify(
    task: BaseTask, name: str, scores: Floats, sigma: float, certificate: Certificate
) -> Iterator[Found]:
    """Certify one score, `[K, N]`, at one noise level, in every way that was asked for."""
    if not scores.size:
        return
    yes_or_no, ratios = name in task.zero_or_one, certificate.ratios(sigma)
    kinds, mean = certificate.kinds_of(type(task).__name__, task.zero_or_one), scores.mean(0)
    if "score" in kinds:
        each = np.array([certify_image(one, ratios, certificate.alpha, yes_or_no) for one in scores.T])
        whole = certify_data_set(scores, ratios, certificate.alpha, *([1] if yes_or_no else []))
        for place, ratio in enumerate(ratios):
            columns = {"mean": mean, "value": each[:, place]}
            yield Found("score", name, ratio * sigma, whole[place], columns, float(mean.mean()))
    if "vote" in kinds and yes_or_no:
        reach = radius(scores.sum(0), len(scores), sigma, certificate.alpha)
        for ratio in ratios:
            holds = reach >= ratio * sigma
            columns = {"mean": mean, "value": holds * 1.0, "certified_radius": reach}
            yield Found("vote", name, ratio * sigma, float(holds.mean()), columns, float(mean.mean()))


def _of_level(defence: Defence, sigma: float) -> dict[str, Any]:
    return {"defence": str(defence), "t": defence.level.t if defence.level else None, "sigma": sigma}


def _rows(said: Mapping[str, Any], index: Sequence[int], images: Mapping[str, Any]) -> pa.Table:
    """Lay out a row for each image: which certificate it is, and what it comes to."""
    count = len(index)
    kinds = {"defence": pa.string(), "t": pa.int64(), "sigma": pa.float64(), "kind": pa.string()}
    kinds |= {"score": pa.string(), "radius": pa.float64()}
    columns = {"index": pa.array(index, pa.int64())}
    columns |= {name: pa.array([said[name]] * count, kind) for name, kind in kinds.items()}
    reach = images.get("certified_radius", np.full(count, np.nan))
    numbers = {"mean": images["mean"], "value": images["value"], "certified_radius": reach}
    return pa.table(columns | {name: pa.array(given, pa.float64()) for name, given in numbers.items()})
