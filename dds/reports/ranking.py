"""Which model behind which purifier keeps most, and which differences the images tell apart."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dds.metrics.intervals import interval
from dds.reports.compared import ComparedRun
from dds.reports.figures.comparison import Estimate
from dds.reports.paired import groups, verdict
from dds.results.layout import Entry, is_named
from dds.results.standing import Standing

_NONE = "no defence"


@dataclass(frozen=True)
class Place:
    """A model behind a purifier, or without one.

    Attributes:
        run: Where it was measured.
        model: The model, as its configuration names it.
        purifier: The purifier likewise, or `no defence`.
        standing: Its defence in the run; of a purifier with noise levels the best level.
        worst: The condition of the worst attack on it.
        first: The best rank that the intervals leave it: 1 more than the number of places that are better.
        last: The worst rank, likewise.
    """

    run: ComparedRun
    model: str
    purifier: str
    standing: Standing
    worst: Entry
    first: int = 0
    last: int = 0

    @property
    def rank(self) -> str:
        """The ranks that it may have, e.g. `2` or `2–4`."""
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"

    @property
    def clean(self) -> Estimate:
        """The utility of clean images."""
        return self.run.comparison.utility(self.standing.clean)

    @property
    def left(self) -> Estimate:
        """The utility under the worst attack."""
        return self.run.comparison.utility(self.worst)

    @property
    def kept(self) -> Estimate:
        """The same in percent of the utility of clean images without defence."""
        return self.run.kept(self.worst)


@dataclass(frozen=True)
class Ranking:
    """The places of runs of one task on the same images, best first.

    Attributes:
        runs: The runs.
        places: Their places; runs without any attack have none.
    """

    runs: list[ComparedRun]
    places: list[Place]

    @property
    def models(self) -> list[str]:
        """The models, the best first."""
        return list(dict.fromkeys(place.model for place in self.places))

    @property
    def purifiers(self) -> list[str]:
        """The purifiers; first, no defence."""
        found = dict.fromkeys(place.purifier for place in self.places)
        return sorted(found, key=lambda name: name != _NONE)

    def at(self, model: str, purifier: str) -> list[Place]:
        """Return the places of a model behind a purifier: several where runs differ in something else."""
        return [place for place in self.places if (place.model, place.purifier) == (model, purifier)]

    @property
    def order(self) -> list[ComparedRun]:
        """The runs, that of the best place first; those without a place last."""
        ranked = dict.fromkeys(id(place.run) for place in self.places)
        position = {key: number for number, key in enumerate(ranked)}
        return sorted(self.runs, key=lambda run: position.get(id(run), len(position)))


def rank(runs: Sequence[ComparedRun]) -> list[Ranking]:
    """Rank by the utility left under the worst attack, each task and set of images for itself.

    Which attack is worst, and which noise level of a run is best, is chosen once, on all images. Places are
    told apart where the interval of their paired difference excludes 0. Models without defence that several
    runs measured have one place, in the run whose attack left least.
    """
    names = _model_names(runs)
    return [_rank(group, names) for group in groups(runs)]


def _rank(group: list[ComparedRun], names: Mapping[str, str]) -> Ranking:
    sign = -1 if group[0].task.lower_is_better else 1
    places = [place for run in group for place in _places(run, names[run.name])]
    places.sort(key=lambda place: sign * _utility(place)[0], reverse=True)
    undefended = {_weights(place.run): place for place in places if place.purifier == _NONE}  # the last
    kept = [p for p in places if p.purifier != _NONE or undefended[_weights(p.run)] is p]
    return Ranking(group, [_with_ranks(place, kept) for place in kept])


def _places(run: ComparedRun, model: str) -> Iterator[Place]:
    comparison = run.comparison
    levels, named = comparison.ranked(named=False), comparison.ranked(named=True)
    for standing in (comparison.undefended, *levels[:1], *named):
        if standing.worst is not None:
            yield Place(run, model, _purifier(run, standing), standing, standing.worst)


def _with_ranks(place: Place, places: Sequence[Place]) -> Place:
    verdicts = Counter(_verdict(other, place) for other in places if other is not place)
    first, last = 1 + verdicts["better"], len(places) - verdicts["worse"]
    return Place(place.run, place.model, place.purifier, place.standing, place.worst, first, last)


def _verdict(one: Place, other: Place) -> str:
    """Return whether one is better or worse than the other; empty where the images do not tell."""
    return verdict(interval(_utility(one) - _utility(other)), one.run.task.lower_is_better)


def _utility(place: Place) -> Any:
    return place.run.utility(place.worst["key"])  # (1 + replicates,)


def _weights(run: ComparedRun) -> str:
    return str(run.summary["weights"].get("task") or run.name)


def _purifier(run: ComparedRun, standing: Standing) -> str:
    if standing.is_none:
        return _NONE
    return standing.name if is_named(standing.clean) else describe(run.config["protocol"].get("purifier"))


def _model_names(runs: Sequence[ComparedRun]) -> dict[str, str]:
    """Return what each run's model is called; models of one name by their weights, too."""
    named = {run.name: describe((run.config["task"].get("init_args") or {}).get("model")) for run in runs}
    weights = {(named[run.name], _weights(run)) for run in runs}
    times = Counter(name for name, _ in weights)
    return {
        run.name: name if times[name := named[run.name]] == 1 else f"{name} ({_weights(run)[:8]})"
        for run in runs
    }


def describe(spec: Any) -> str:
    """Name what a configuration builds, by its class and what tells it from others of this class."""
    if not isinstance(spec, dict):
        return str(spec or "none").rsplit(".", 1)[-1] if "/" not in str(spec) else str(spec)
    arguments = {**(spec.get("init_args") or {}), **(spec.get("dict_kwargs") or {})}
    name = str(spec.get("class_path")).rsplit(".", 1)[-1]
    if name == "pretrained":
        return f"{describe(arguments.get('model'))}, {Path(str(arguments.get('weights'))).name}"
    telling = [arguments.get(key) for key in ("model", "model_name", "encoder_name", "size")]
    return ", ".join([name, *(describe(one) for one in telling if isinstance(one, str | dict))])


def rows(rankings: Sequence[Ranking]) -> list[dict[str, Any]]:
    """Return a flat row for each place; estimates as the value and the ends of its interval."""
    return [_row(ranking, place) for ranking in rankings for place in ranking.places]


def _row(ranking: Ranking, place: Place) -> dict[str, Any]:
    summary = place.run.summary
    estimates = {"clean": place.clean, "worst": place.left, "kept_percent": place.kept}
    return {
        "task": summary["task"],
        "data": summary["data"],
        "images": len(place.run.images),
        "utility": summary["utility"],
        "lower_is_better": summary["lower_is_better"],
        "rank_first": place.first,
        "rank_last": place.last,
        "places": len(ranking.places),
        "run": place.run.name,
        "model": place.model,
        "purifier": place.purifier,
        "defence": place.standing.name,
        "worst_attack": place.worst["key"],
        **{
            name if end == "value" else f"{name}_{end}": estimate[end]
            for name, estimate in estimates.items()
            for end in ("value", "low", "high")
        },
    }


def to_csv(rankings: Sequence[Ranking]) -> str:
    """Write the rows of `rows` as CSV, the first line the names of the columns."""
    found, text = rows(rankings), io.StringIO()
    if found:
        writer = csv.DictWriter(text, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    return text.getvalue()
