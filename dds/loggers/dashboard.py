"""What of a run any dashboard is told: its settings, curves over the noise level, and what it comes to."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from dds.results.layout import Entry, is_named
from dds.results.standing import Comparison, Standing
from dds.runs.run_folder import RunFolder

Numbers = dict[str, float]
"""Names and values, as they are logged."""


def settings(folder: RunFolder, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's complete configuration, the versions it ran with and the hashes of its weights."""
    config: dict[str, Any] = yaml.safe_load(folder.config.read_text())
    return {**config, **{name: summary[name] for name in ("versions", "weights")}}


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
    found = {}
    for name, value in {**entry["metrics"], "utility_drop": entry["utility_drop"]}.items():
        for part, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
            if value is not None and value[part] is not None:
                found[f"{name}{suffix}"] = value[part]
    return found


def curves(conditions: Sequence[Entry]) -> list[Numbers]:
    """Return the points at each noise level, rising: `noise_level`, `sigma`, `<attack>/<view>/<metric>`."""
    steps: dict[float, Numbers] = {}
    for entry in conditions:
        if place := noise_level(entry):
            step = steps.setdefault(place["noise_level"], place)
            step |= _prefixed(f"{entry['attack']}/{entry['attacker_sees']}", entry)
    return [steps[level] for level in sorted(steps)]


def beside_curves(conditions: Sequence[Entry]) -> Numbers:
    """Return what has no place on the axis of noise levels: `<condition>/<metric>` of the named defences."""
    named = filter(is_named, conditions)
    return {name: value for entry in named for name, value in _prefixed(entry["key"], entry).items()}


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
