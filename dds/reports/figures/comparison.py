"""Figures that lay runs over each other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import ceil, log2
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dds.reports.figures.labels import label_points
from dds.reports.figures.notes import explain
from dds.reports.figures.style import COLOURS, STYLE, blank, reach, write
from dds.results.layout import Entry, defence_name, is_named, line_name, line_of, with_interval

_COLOURS = (*COLOURS[:-1], "#999933")  # Tol's olive: a thin yellow line is not seen on white
_MARKERS = ("o", "s", "^", "v", "P", "X", "d")  # as many as give each of 56 runs a look of its own
_DASHES = ("-", "--", "-.", ":")
_WIDTH = 7.2  # inches, two columns of a paper
_APART = 0.45  # doublings of sigma between two ticks that can be read
_DODGE = 0.05  # between the marks of two runs, so that the intervals of one do not hide the other's
_LABELS = 40  # more of them hide the points
_KEPT = "kept, in % of clean utility without defence"

Estimate = Mapping[str, float | None]
"""A `value` and the ends `low` and `high` of its interval; None where it is not known."""


@dataclass(frozen=True)
class Outcome:
    """What a defence of one run costs and keeps.

    Attributes:
        entry: The condition of clean images behind it, which says what defence it is.
        clean: The utility of clean images.
        attacked: The utility under the worst attack on it; None where there was none.
        gain: How much more that is than under the worst attack on no defence; None where one is not known.
        worst: The condition of the worst attack.
    """

    entry: Entry
    clean: Estimate
    attacked: Estimate | None
    gain: Estimate | None = None
    worst: Entry | None = None


Runs = Mapping[str, Sequence[Outcome]]
"""The name of each run, and its defences in the order of the layout."""


class Look(NamedTuple):
    """How a run is told from the others, three times over."""

    colour: str
    marker: str
    dashes: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Give each run a look."""
    endless = zip(cycle(_COLOURS), cycle(_MARKERS), cycle(_DASHES), strict=False)
    return {name: Look(*look) for name, look in zip(names, endless, strict=False)}


def draw_comparison(shares: Runs, utilities: Runs | None, quantity: str, folder: Path) -> list[Path]:
    """Draw the figures of a comparison as PNG and as SVG.

    Args:
        shares: What each run keeps, in percent of its clean utility without defence.
        utilities: The same in the unit of the metric; None where the runs have no metric in common.
        quantity: That metric, its unit and which is better.
        folder: Where the figures go.

    Returns:
        The PNG files; the SVG files lie beside them.
    """
    drawn = {}
    with rc_context(STYLE):
        if any(_exchanged(outcomes) for outcomes in shares.values()):
            drawn["exchange"] = blank(_WIDTH, 4.3 + _tall(shares))
            exchange(drawn["exchange"], shares)
        drawn["kept"] = blank(_WIDTH, 5.2 + _tall(shares))
        courses(drawn["kept"], shares, _KEPT)
        if utilities is not None:
            drawn["utility"] = blank(_WIDTH, 5.2 + _tall(shares))
            courses(drawn["utility"], utilities, quantity)
        return [write(figure, folder / name)[0] for name, figure in drawn.items()]


def exchange(figure: Figure, runs: Runs) -> None:
    """Draw what defences gain under the worst attack against what they lose on clean images, in percent.

    A line a run over its noise levels, from no defence at the origin on; up and to the left is better.
    Defences without a noise level are hollow marks.
    """
    axes, points = figure.subplots(), []
    axes.axhline(0, linewidth=0.6, alpha=0.5)
    axes.axvline(0, linewidth=0.6, alpha=0.5)
    for name, look in looks(runs).items():
        known = _exchanged(runs[name])
        x, y = [_lost(one.clean) for one in known], [one.gain or {} for one in known]
        _draw(axes, known, x, y, look, name, _KEPT)
        places = zip(_values(x), _values(y), strict=True)
        points += list(zip(places, (one.entry for one in known), strict=True))
    axes.set_xlabel("utility lost on clean images, % (lower is better)")
    axes.set_ylabel("robustness gained over no defence,\npercentage points (higher is better)")
    axes.grid(alpha=0.3)
    _legend(figure, runs)
    _label(figure, axes, points)


def courses(figure: Figure, runs: Runs, quantity: str) -> None:
    """Draw what runs keep over their noise levels: of clean images, and below under the worst attack.

    Noise levels stand at log sigma; no defence and defences without a level stand beside them.
    """
    place = _places(runs)
    parts = {"clean images": "clean", "worst attack": "attacked"}
    if not any(one.attacked for outcomes in runs.values() for one in outcomes):
        del parts["worst attack"]
    rows = figure.subplots(len(parts), squeeze=False, sharex=True)[:, 0]
    for axes, (title, part) in zip(rows, parts.items(), strict=True):
        for rank, (name, look) in enumerate(looks(runs).items()):
            known = [one for one in runs[name] if getattr(one, part)]
            shift = _DODGE * (rank - (len(runs) - 1) / 2)
            x = [_exactly(place[defence_name(one.entry)] + shift) for one in known]
            _draw(axes, known, x, [getattr(one, part) for one in known], look, name, quantity)
        axes.set_title(title, loc="left")
        _, top = axes.get_ylim()
        axes.set_ylim(-0.03 * top, top)  # room for marks at 0
        axes.grid(alpha=0.3)
    figure.supylabel(quantity, fontsize=9)
    _label_places(rows[-1], place)
    _legend(figure, runs)


def _exchanged(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the defences of which both is known, what they cost and what they gain."""
    return [one for one in outcomes if one.gain and None not in (one.gain["value"], one.clean["value"])]


def _lost(kept: Estimate) -> Estimate:
    ends = {"value": "value", "low": "high", "high": "low"}
    return {end: None if (share := kept[other]) is None else 100 - share for end, other in ends.items()}


def _exactly(value: float) -> Estimate:
    return dict.fromkeys(("value", "low", "high"), value)


def _draw(
    axes: Axes,
    outcomes: Sequence[Outcome],
    x: list[Estimate],
    y: list[Estimate],
    look: Look,
    name: str,
    quantity: str,
) -> None:
    """Draw a run's points with their intervals, and its noise levels as a line."""
    named = np.array([is_named(one.entry) for one in outcomes], dtype=bool)
    across, up = np.array(_values(x)), np.array(_values(y))
    bars: Any = {"ecolor": look.colour, "elinewidth": 0.9, "alpha": 0.4}
    axes.errorbar(across, up, reach(y), reach(x), "none", **bars)
    mark: Any = {"color": look.colour, "marker": look.marker, "markersize": 5, "label": name}
    axes.plot(across[~named], up[~named], linestyle=look.dashes, linewidth=1.3, **mark)
    axes.plot(across[named], up[named], linestyle="none", markerfacecolor="none", **mark)
    for one, left, height in zip(outcomes, across, up, strict=True):
        explain(axes, left, height, f"{name}, {_said(one, quantity)}")


def _said(outcome: Outcome, quantity: str) -> str:
    parts = {"clean images": outcome.clean, "worst attack": outcome.attacked, "gained": outcome.gain}
    known = [f"{name} {with_interval(part, '95 % interval ')}" for name, part in parts.items() if part]
    worst = [] if outcome.worst is None else [line_name(line_of(outcome.worst)), outcome.worst["key"]]
    return "\n".join([defence_name(outcome.entry), quantity, *known, *worst])


def _values(estimates: Iterable[Estimate]) -> list[float]:
    return [np.nan if (value := one["value"]) is None else value for one in estimates]


def _places(runs: Runs) -> dict[str, float]:
    """Return where each defence stands: levels at log sigma, no defence before them, the others behind."""
    entries = [one.entry for outcomes in runs.values() for one in outcomes]
    places = {defence_name(e): log2(e["sigma"]) for e in entries if e["sigma"]}
    first, last = min(places.values(), default=0.0), max(places.values(), default=0.0)
    named = dict.fromkeys(defence_name(e) for e in entries if is_named(e))
    beside = {name: last + 1.2 + 0.8 * rank for rank, name in enumerate(named)}
    return {defence_name(e): first - 1.5 for e in entries if e["defence"] is None} | places | beside


def _label_places(axes: Axes, places: Mapping[str, float]) -> None:
    kept = list(_readable(sorted(places.items(), key=lambda one: one[1])))
    axes.set_xticks([place for _, place in kept], [name.replace(" ", "\n") for name, _ in kept])
    axes.tick_params("x", labelsize=7)
    axes.set_xlabel("defence; noise levels at the logarithm of σ")


def _readable(ticks: Iterable[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Leave out the ticks that would stand on the one before."""
    last = -np.inf
    for name, place in ticks:
        if place - last >= _APART:
            last = place
            yield name, place


def _legend(figure: Figure, runs: Runs) -> None:
    lines = {line.get_label(): line for line in reversed(figure.axes[0].lines)}  # the first of a name stays
    found = {name: lines[name] for name in runs if name in lines}
    look: Any = {"frameon": False, "loc": "outside upper center", "handlelength": 4}
    figure.legend(found.values(), found.keys(), ncols=_columns(runs), **look)


def _columns(runs: Runs) -> int:
    """Return how many names stand beside each other in a legend."""
    return max(1, int(_WIDTH * 12 / (max(map(len, runs)) + 8)))  # 12 characters an inch


def _tall(runs: Runs) -> float:
    """Return the height of a legend in inches."""
    return 0.17 * ceil(len(runs) / _columns(runs))


def _short(entry: Entry) -> str:
    return f"t{entry['t'] or 0}" if not is_named(entry) else str(entry["defence"])


def _label(figure: Figure, axes: Axes, points: Sequence[tuple[tuple[float, float], Entry]]) -> None:
    """Label the points, those of many defences in one place once; where they are many, noise levels only."""
    crowded = len({place for place, _ in points}) > _LABELS
    names: dict[tuple[float, float], dict[str, None]] = {}
    for place, entry in points:
        if not (crowded and is_named(entry)):
            names.setdefault(place, {})[_short(entry)] = None
    label_points(figure, axes, [", ".join(here) for here in names.values()], list(names))
