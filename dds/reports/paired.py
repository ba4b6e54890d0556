"""Differences between runs on the same images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from dds.metrics.intervals import interval
from dds.reports.compared import ComparedRun
from dds.reports.differences import differing, flatten
from dds.reports.figures.comparison import Estimate

_EACH_WITH_EACH = 3  # runs; of more, each is compared with the first
_HARMLESS = ("batch_size", "num_workers")


@dataclass(frozen=True)
class Difference:
    """The utility of one condition in two runs.

    Attributes:
        key: The condition.
        first: Its utility in the first run.
        other: Its utility in the other run.
        difference: The other's minus the first's, with the interval of both resampled alike.
        verdict: What the other run is, `better` or `worse`; empty where the interval holds 0.
    """

    key: str
    first: Estimate
    other: Estimate
    difference: Estimate
    verdict: str


@dataclass(frozen=True)
class Pair:
    """Two runs of one task on the same images.

    Attributes:
        first: The run that is compared to.
        other: The run that is compared.
        differences: Of each condition that both have.
    """

    first: ComparedRun
    other: ComparedRun
    differences: list[Difference]

    def count(self, verdict: str) -> int:
        """Return how many conditions have a verdict."""
        return sum(one.verdict == verdict for one in self.differences)


def pair_up(runs: Sequence[ComparedRun]) -> list[Pair]:
    """Compare the runs that have the same task and images, each with each, or with the first of many."""
    return [_compare(*pair) for group in groups(runs) for pair in _pairs(group)]


def shared_conditions(runs: Sequence[ComparedRun]) -> list[tuple[ComparedRun, str]]:
    """Return the conditions, with their runs, whose utilities paired differences are made of."""
    pairs = [pair for group in groups(runs) for pair in _pairs(group)]
    return list(dict.fromkeys((run, key) for pair in pairs for key in _common(*pair) for run in pair))


def unpaired(runs: Sequence[ComparedRun]) -> Iterator[str]:
    """Say in words why runs have no paired difference."""
    firsts = [group[0] for group in groups(runs)]
    if len(tasks := dict.fromkeys(run.task.__name__ for run in firsts)) > 1:
        yield f"Runs of different tasks ({', '.join(tasks)}) have no metric whose difference means anything."
    for first, other in combinations(firsts, 2):
        if first.task is other.task:
            yield f"{first.name} and {other.name} are not paired: {_obstacle(first, other)}."


def groups(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Put the runs together that may be paired: those of one task on the same images."""
    found: list[list[ComparedRun]] = []
    for run in runs:
        own = next((group for group in found if _obstacle(group[0], run) is None), None)
        if own is None:
            found.append([run])
        else:
            own.append(run)
    return found


def _pairs(group: Sequence[ComparedRun]) -> Iterator[tuple[ComparedRun, ComparedRun]]:
    if len(group) <= _EACH_WITH_EACH:
        return combinations(group, 2)
    return ((group[0], other) for other in group[1:])


def _obstacle(first: ComparedRun, other: ComparedRun) -> str | None:
    """Return what forbids to pair two runs; None if nothing does."""
    if first.task is not other.task:
        return "their tasks differ"
    if first.summary["data"] != other.summary["data"]:
        return f"their data differ ({first.summary['data']}, {other.summary['data']})"
    if unlike := differing([_data(first), _data(other)]):
        values = (f"{name} {' and '.join(each)}" for name, each in unlike.items())
        return f"their data are not set alike ({'; '.join(values)})"
    if first.digest and other.digest and first.digest != other.digest:
        return "their data sets hold other files, or in another order"
    if first.images != other.images:
        common = len(set(first.images) & set(other.images))
        return (
            f"their images are not the same ({len(first.images)} and {len(other.images)}, {common} in common)"
        )
    return None


def _data(run: ComparedRun) -> dict[str, str]:
    settings = run.config["data"].get("init_args") or {}
    return flatten({name: value for name, value in settings.items() if name not in _HARMLESS}, "data")


def _compare(first: ComparedRun, other: ComparedRun) -> Pair:
    return Pair(first, other, [_difference(key, first, other) for key in _common(first, other)])


def _common(first: ComparedRun, other: ComparedRun) -> list[str]:
    keys = {entry["key"] for entry in other.summary["conditions"]}
    return [entry["key"] for entry in first.summary["conditions"] if entry["key"] in keys]


def _difference(key: str, first: ComparedRun, other: ComparedRun) -> Difference:
    ends = first.utility(key), other.utility(key)
    difference = interval(ends[1] - ends[0])
    found = verdict(difference, first.task.lower_is_better)
    return Difference(key, interval(ends[0]), interval(ends[1]), difference, found)


def verdict(difference: Estimate, lower_is_better: bool) -> str:
    """Return what is subtracted from is, `better` or `worse`; empty where the interval holds 0."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None or low <= 0 <= high:
        return ""
    return "better" if (low > 0) != lower_is_better else "worse"
