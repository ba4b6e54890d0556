"""What differs between runs that are compared, in words."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from dds.reports.compared import ComparedRun
from dds.results.layout import Line

_PARTS = ("task", "data", "protocol", "trainer")
_ABSENT = "–"
_NAMED = 3  # conditions that a sentence names
_SHORT = 16  # characters of a value that a sentence holds

Having = TypeVar("Having", bound=Hashable)

Settings = dict[str, str]
"""The path of a setting, e.g. `protocol.draws`, and its value."""


def flatten(value: Any, path: str = "") -> Settings:
    """Return each setting below a part of a configuration."""
    if not isinstance(value, Mapping) or not value:
        return {path: str(value)}
    below = [flatten(one, f"{path}.{name}" if path else str(name)) for name, one in value.items()]
    return {name: text for settings in below for name, text in settings.items()}


def differing(settings: Sequence[Settings]) -> dict[str, list[str]]:
    """Return the settings that are not the same in all runs, and the value in each run."""
    paths = dict.fromkeys(path for one in settings for path in one)
    values = {path: [one.get(path, _ABSENT) for one in settings] for path in paths}
    return {path: each for path, each in values.items() if len(set(each)) > 1}


def differing_configs(runs: Sequence[ComparedRun]) -> dict[str, list[str]]:
    """Return what the configurations of runs decide differently, but not what the runs are called."""
    parts = [{part: run.config[part] for part in _PARTS if part in run.config} for run in runs]
    return differing([flatten(part) for part in parts])


def warnings(runs: Sequence[ComparedRun]) -> list[str]:
    """Say what makes a comparison unfair, or not complete."""
    return [*_incomplete(runs), *_unlike_attacks(runs), *_unlike_settings(runs), *_holes(runs)]


def remarks(runs: Sequence[ComparedRun]) -> list[str]:
    """Say what "worst" is the worst of, and which levels there are."""
    return [*_same_attacks(runs), *_levels(runs)]


def _incomplete(runs: Sequence[ComparedRun]) -> Iterator[str]:
    for run in runs:
        if run.gaps:
            yield f"{run.name} is not complete. {' '.join(run.gaps)}"


def _unlike_attacks(runs: Sequence[ComparedRun]) -> Iterator[str]:
    if len({frozenset(run.lines) for run in runs}) > 1:
        yield (
            "The worst attack is not the worst of the same attacks in all runs, so robustness and gain do "
            "not compare fairly: the more attacks are tried, the worse is the worst."
        )
        for lines, names in _alike({run.name: tuple(sorted(run.lines)) for run in runs}).items():
            yield f"In {', '.join(names)} it is that of {_attacks(lines)}."


def _same_attacks(runs: Sequence[ComparedRun]) -> Iterator[str]:
    if len({frozenset(run.lines) for run in runs}) == 1:
        yield f"In every run the worst attack is that of {_attacks(runs[0].lines)}."


def _attacks(lines: Sequence[Line]) -> str:
    sights: dict[str, list[str]] = {}
    for attack, sees in lines:
        sights.setdefault(sees, []).append(attack)
    each = [f"attacker sees {sees}: {', '.join(attacks)}" for sees, attacks in sights.items()]
    return f"{len(lines)} ({'; '.join(each)})" if lines else "none: there is no attack"


def _unlike_settings(runs: Sequence[ComparedRun]) -> Iterator[str]:
    """Find attacks that have the same name and not the same settings."""
    given = {run.name: run.config["protocol"].get("attacks") or {} for run in runs}
    for name in dict.fromkeys(name for attacks in given.values() for name in attacks):
        settings = {run: _arguments(attacks[name]) for run, attacks in given.items() if name in attacks}
        unlike = differing(list(settings.values()))
        said = [_who_has(path, dict(zip(settings, each, strict=True))) for path, each in unlike.items()]
        if said:
            yield f"The attack {name} is not set alike: {'; '.join(said)}."


def _arguments(spec: Any) -> Settings:
    """Return the arguments of an attack as texts."""
    given = spec if isinstance(spec, Mapping) else {"class_path": spec}
    kind = str(given.get("class_path")).rsplit(".", 1)[-1]  # it has longer paths, too
    return {"class": kind, **{name: str(value) for name, value in (given.get("init_args") or {}).items()}}


def _who_has(path: str, values: Mapping[str, str]) -> str:
    """Say which runs have which value; of values that are long, only the setting."""
    if max(map(len, values.values())) > _SHORT:
        return path
    each = [f"{value} in {', '.join(names)}" for value, names in _alike(values).items()]
    return f"{path} {' and '.join(each)}"


def _holes(runs: Sequence[ComparedRun]) -> Iterator[str]:
    """Find runs that did not try the same attacks on each of their own defences."""
    for run in runs:
        layout, lines = run.comparison.layout, run.lines
        holes = [f"{'/'.join(line)} on {defence}" for line, defence in layout.missing() if line in lines]
        if holes:
            yield f"In {run.name} not every attack was run on every defence; missing: {_few(holes)}."


def _levels(runs: Sequence[ComparedRun]) -> Iterator[str]:
    found = _alike({run.name: tuple(run.comparison.layout.defences[1:]) for run in runs})
    if len(found) > 1:
        yield "The runs have not the same defences; the best level is the best of those that were run."
        for defences, names in found.items():
            yield f"{', '.join(names)}: {', '.join(defences) or 'none'}."


def _alike(having: Mapping[str, Having]) -> dict[Having, list[str]]:
    """Put the names together that have the same."""
    found: dict[Having, list[str]] = {}
    for name, what in having.items():
        found.setdefault(what, []).append(name)
    return found


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
