"""Certificates from below, attacks at the same radius from above: do the two agree?"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from dds.callbacks import CertificateDraws
from dds.certificates import betting, clopper_pearson, linf_radius
from dds.certificates.bounds import Floats, check_scores
from dds.errors import InputError
from dds.protocol import Bracket
from dds.results.layout import Entry
from dds.runs.job import Job
from dds.runs.run_folder import RunFolder
from dds.runs.samples import Samples, to_draws

STATEMENT = (
    "`attacked` is the mean score of these images under an L2 attack at the radius, through the purifier, on "
    "noise that neither attack nor certificate has seen; `attacked_upper` is an upper confidence bound "
    "of what it estimates, at 1 - alpha of the bracket. `agree` counts the images of which that bound is not "
    "below the image's own certificate"
)
"""What the summary says of its numbers."""

_SHOWN = 3  # contradictions that a message names


def bracketed(job: Job, folder: RunFolder, certificates: Mapping[str, Any]) -> dict[str, Any]:
    """Set beside each certificate the L-infinity radius it covers and, of scores, what attacks have left.

    A certificate says that the *expected* score under any attack within the radius is at least so much; what
    was measured is the mean of finitely many draws, which may lie below by luck. So it is an upper confidence
    bound of the attacked expectation that must not be below the certificate: for each image by itself, and
    for the mean over all. All those bounds of a run share the certificates' alpha equally (Bonferroni). If
    every certificate is true, the probability that any comparison fails is therefore alpha at most; where
    one fails, a certificate is false. By luck alone one is so with probability alpha, and to be noticed it
    would have to be false by more than the width of that bound, under an attack that finds the worst case.

    Args:
        job: The run's.
        folder: Of the run, merged and certified.
        certificates: What `certify_run` says.

    Returns:
        The same; each entry with `linf`, and those of kind `score` at radii that were attacked with
        `attacked`, `attacked_upper`, `attacked_key` (the condition), `agree`, `of` and `disagree` (the
        images). `bracket` says how it was done, where it was.
    """
    height, width = job.data.test_dataset()[0]["image"].shape[1:]
    entries = [
        {**entry, "linf": linf_radius(entry["radius"], height, width)} for entry in certificates["entries"]
    ]
    found = {**certificates, "pixels": [height, width], "entries": entries}
    assert isinstance(job.protocol, CertificateDraws)
    bracket = job.protocol.bracket
    attacked = {place: key for place, entry in enumerate(entries) if (key := _key(entry, bracket))}
    if attacked:
        comparisons = sum(entries[place]["images"] + 1 for place in attacked)
        check = _Check(job, folder, certificates["alpha"] / comparisons)
        for place, key in attacked.items():
            entries[place] |= check(entries[place], key)
        found["bracket"] = {
            "alpha": check.alpha,
            "comparisons": comparisons,
            "draws": next(iter(bracket.radii)).draws,
            "statement": STATEMENT,
        }
    return found


def contradictions(certificates: Mapping[str, Any]) -> list[str]:
    """Name each certificate that an attack got below; empty: they all agree.

    Args:
        certificates: Those of `summary.json`.
    """
    return [line for entry in certificates["entries"] if "attacked" in entry for line in _contradicted(entry)]


def check_bracket(certificates: Mapping[str, Any]) -> None:
    """Refuse a run whose attacks got below its certificates.

    Raises:
        InputError: Naming images, levels and radii.
    """
    if found := contradictions(certificates):
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise InputError(
            f"attacks within the radius contradict certificates: {'; '.join(found[:_SHOWN])}{more}. Expected "
            "the score under attack to stay above. So these are false: does the purifier add noise of a "
            "smaller sigma than its certified_sigma says, or see more than the noisy image?"
        )


def upper_bound(scores: ArrayLike, alpha: float, zero_or_one: bool = False) -> float:
    """Bound a mean score from above, from independent draws.

    By a lower bound of what is missing to 1: Clopper & Pearson's for scores of 0 or 1 with one mean, else by
    betting, which also holds of draws that have different means.

    Args:
        scores: In [0, 1], any shape.
        alpha: Probability that the bound is below the truth, at most.
        zero_or_one: Whether all are 0 or 1, of one image.
    """
    missing = 1 - check_scores(scores).ravel()
    if zero_or_one:
        return 1 - float(clopper_pearson(missing.sum(), len(missing), alpha))
    return 1 - betting(missing, alpha)


class _Check:
    """Compares certificates with what attacks have left.

    Args:
        job: The run's.
        folder: Of the run.
        alpha: Of each comparison.
    """

    def __init__(self, job: Job, folder: RunFolder, alpha: float) -> None:
        self.alpha, self._task = alpha, job.task
        self._samples: Samples = folder.open_tables()[0]
        self._certified = pq.read_table(folder.certificates)

    def __call__(self, entry: Entry, key: str) -> dict[str, Any]:
        """Return what is said of an entry, of which images were attacked under the condition `key`."""
        index, certified = self._of_images(entry)
        scores = self._scores(key, entry["score"], index)
        yes_or_no = entry["score"] in self._task.zero_or_one
        below = np.flatnonzero(scores.mean(0) < certified)  # no bound is below the mean
        disagree = [
            int(index[place])
            for place in below
            if upper_bound(scores[:, place], self.alpha, yes_or_no) < certified[place]
        ]
        return {
            "attacked": float(scores.mean()),
            "attacked_upper": upper_bound(scores, self.alpha),
            "attacked_key": key,
            "agree": len(index) - len(disagree),
            "of": len(index),
            "disagree": disagree,
        }

    def _of_images(self, entry: Entry) -> tuple[Any, Floats]:
        """Return the images of an entry and what is certified of each, `[N]` both, by image."""
        table = self._certified
        for name in ("defence", "kind", "score", "radius"):
            table = table.filter(pc.equal(table[name], entry[name]))
        table = table.sort_by("index")
        return table["index"].to_numpy(), table["value"].to_numpy()

    def _scores(self, key: str, score: str, index: Any) -> Floats:
        """Return the scores of images under a condition, `[K, N]`."""
        measured, draws = to_draws(self._samples.of(key))
        scores: Floats = self._task.unit_scores(draws)[score].double().numpy()
        return scores[:, np.isin(measured.numpy(), index)]


def _key(entry: Entry, bracket: Bracket) -> str | None:
    """Return the condition under which images were attacked at the radius of an entry, if they were."""
    if entry["kind"] != "score":
        return None
    keys = [
        condition.key
        for condition, radius in bracket.radii.items()
        if str(condition.defence) == entry["defence"] and np.isclose(radius, entry["radius"])
    ]
    return keys[0] if keys else None


def _contradicted(entry: Entry) -> Iterator[str]:
    place = f"{entry['defence']}, radius {entry['radius']:.4g}, {entry['score']}"
    for image in entry["disagree"]:
        yield f"image {image} at {place}"
    if entry["attacked_upper"] < entry["value"]:
        yield f"the mean over images at {place} ({entry['attacked']:.3f}, certified {entry['value']:.3f})"
