"""What of a run any dashboard is told: its settings, how far it is, and what it comes to."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from dds.results.layout import Entry, Summary, is_named
from dds.results.radius_curves import named_radii, radius_curves, score_name
from dds.results.standing import Comparison, Standing
from dds.runs.run_folder import RunFolder

Numbers = dict[str, float]
"""Names and values, as they are logged."""


SECONDS = "progress/seconds"
"""The axis of all that is told of a run while it goes on: seconds since it began, pauses included."""


class Dashboard(ABC):
    """A place where people watch a run.

    It is told of the beginning, then how far the run is, then of the end, all of it in one thread of its own:
    it may be slow, and raise whatever it likes.
    """

    name: str

    @abstractmethod
    def begin(self, folder: RunFolder, head: Summary, keys: Sequence[str]) -> None:
        """Show the settings and the plan.

        Args:
            folder: The run's folder.
            head: What `summary.json` says of a run before anything is measured.
            keys: Of the conditions to come.
        """

    @abstractmethod
    def log(self, numbers: Numbers) -> None:
        """Show how far the run is: `SECONDS`, `progress/…` and `running/…`."""

    @abstractmethod
    def end(self, success: bool, summary: Summary | None = None, last: Numbers | None = None) -> str:
        """Show the results, if there are any, and end.

        Args:
            success: Whether the work of this job is done.
            summary: The content of `summary.json`; None: the run is not finished.
            last: What `log` is given where it is.

        Returns:
            Where it is to be seen.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Keep nobody waiting, as it has been given up; called in the main thread."""


def settings(folder: RunFolder, head: Summary, keys: Sequence[str]) -> dict[str, Any]:
    """Return a run's complete configuration, versions and hashes of its weights, and what is planned."""
    config: dict[str, Any] = yaml.safe_load(folder.config.read_text())
    planned = {"images": head["images"], "conditions": list(keys), "calls": head["calls"]}
    return {**config, **{name: head[name] for name in ("versions", "weights")}, "planned": planned}


def running(found: Mapping[str, Mapping[str, Any]], utility: str) -> Numbers:
    """Return what the images so far come to, as `running/<condition>/<utility>`, `…_low` and `…_high`.

    Args:
        found: Key of each condition to its metrics, as of `BaseTask.running` and in `summary.json`.
        utility: The metric.
    """
    return {
        f"running/{key}/{name}": value
        for key, metrics in found.items()
        for name, value in _with_ends({utility: metrics.get(utility)}).items()
    }


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings by their names on the command line, e.g. `task.init_args.model`."""
    found: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def noise_level(entry: Entry) -> dict[str, float]:
    """Return a condition's place on both axes, 0 for no defence; nothing for a defence that has no level."""
    if is_named(entry):
        return {}
    return {"noise_level": entry["t"] or 0, "sigma": entry["sigma"] or 0.0}


def values(entry: Entry) -> Numbers:
    """Return all that was measured under a condition: each metric, and its interval as `_low` and `_high`."""
    return _with_ends({**entry["metrics"], "utility_drop": entry["utility_drop"]})


def _with_ends(metrics: Mapping[str, Any]) -> Numbers:
    found = {}
    for name, value in metrics.items():
        for part, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
            if value is not None and value[part] is not None:
                found[f"{name}{suffix}"] = value[part]
    return found


def curves(summary: Summary) -> list[Numbers]:
    """Return the points at each noise level, rising.

    Returns:
        `noise_level`, `sigma`, `<attack>/<view>/<metric>`, and of certificates `certified/<score>/<radius>`
        with `attacked/<score>/<radius>` beside it where the radius was attacked.
    """
    steps: dict[float, Numbers] = {}
    for entry in summary["conditions"]:
        if place := noise_level(entry):
            step = steps.setdefault(place["noise_level"], place)
            step |= _prefixed(f"{entry['attack']}/{entry['attacker_sees']}", entry)
    for name, entry in named_radii(radius_curves(summary)):
        if place := noise_level(entry):
            step = steps.setdefault(place["noise_level"], place)
            step |= _certified(name, entry)
    return [steps[level] for level in sorted(steps)]


def beside_curves(summary: Summary) -> Numbers:
    """Return what has no place on the axis of noise levels, of the named defences.

    Returns:
        `<condition>/<metric>`, and of certificates `certified/<score>/<radius>/<defence>`, likewise
        `attacked/…`.
    """
    named = filter(is_named, summary["conditions"])
    found = {name: value for entry in named for name, value in _prefixed(entry["key"], entry).items()}
    for name, entry in named_radii(radius_curves(summary)):
        if is_named(entry):
            found |= _certified(f"{name}/{entry['defence']}", entry)
    return found


def _certified(name: str, entry: Entry) -> Numbers:
    """Return what is certified at a radius, and what attacks have left there."""
    ends = {"certified": "value", "attacked": "attacked"}
    return {f"{end}/{score_name(entry)}/{name}": entry[key] for end, key in ends.items() if key in entry}


def headline(comparison: Comparison) -> Numbers:
    """Return what a run comes to, for tables of runs and for sweeps to optimise.

    Returns:
        `utility/clean/<defence>` and `utility/worst/<defence>`, under the worst of its attacks, for each
        defence; `t0` is none. `clean_utility`, `worst_utility`, `best_t` and `best_sigma` are of the best
        one by `dds.results.standing.RULE`, a noise level if there is any; they are left out where no
        attacker saw a defence.
    """
    found: dict[str, float | None] = {}
    for standing in comparison.standings:
        defence = standing.clean["defence"] or "t0"
        clean, worst = _utilities(comparison, standing)
        found |= {f"utility/clean/{defence}": clean, f"utility/worst/{defence}": worst}
    for best in [*comparison.ranked(named=False), *comparison.ranked(named=True)][:1]:
        found["clean_utility"], found["worst_utility"] = _utilities(comparison, best)
        found |= {"best_t": best.clean["t"], "best_sigma": best.clean["sigma"]}
    return {name: value for name, value in found.items() if value is not None}


def _utilities(comparison: Comparison, standing: Standing) -> tuple[float | None, float | None]:
    worst = comparison.utility(standing.worst)["value"] if standing.worst else None
    return comparison.utility(standing.clean)["value"], worst


def _prefixed(prefix: str, entry: Entry) -> Numbers:
    return {f"{prefix}/{name}": value for name, value in values(entry).items()}
