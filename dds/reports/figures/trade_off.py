from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dds.reports.figures.labels import label_points
from dds.reports.figures.notes import condition, explain
from dds.reports.figures.style import COLOURS, INK, quantity, reach
from dds.results.layout import Entry, is_named, with_interval
from dds.results.standing import Comparison, Standing

_BLUE, _ORANGE = COLOURS[2], COLOURS[1]
_KINDS = {  # marker, colour
    "no defence": ("s", INK),
    "noise level": ("o", _BLUE),
    "without noise level": ("D", _ORANGE),
}


def trade_off(figure: Figure, summary: Mapping[str, Any]) -> None:
    """Draw what each defence costs on clean images, and what it keeps under its worst attack.

    A point a defence with the 95 % intervals of both; up and to the left is better, for errors too. The
    hollow marks are the worst attacks that know nothing of the defence.
    """
    axes, comparison = figure.subplots(), Comparison(summary)
    shown = comparable(comparison)
    levels = [s for s in shown if not is_named(s.clean)]
    axes.plot(*_places(comparison, levels), color=_BLUE, alpha=0.5, linewidth=1)
    for kind, (marker, colour) in _KINDS.items():
        of_kind = [standing for standing in shown if _kind(standing) == kind]
        _non_adaptive(axes, comparison, of_kind, marker, colour)
        _crosses(axes, comparison, of_kind, marker, colour, kind)
    _label_axes(axes, summary)
    figure.legend(frameon=False, loc="outside upper center", ncols=4)
    names = [standing.name.split(" σ")[0] for standing in shown]
    label_points(figure, axes, names, np.transpose(_places(comparison, shown)))


def comparable(comparison: Comparison) -> list[Standing]:
    """Return the defences whose cost and whose worst attack are known."""
    known = [s for s in comparison.standings if s.clean["utility_drop"]["value"] is not None]
    return [standing for standing in known if standing.worst]


def _kind(standing: Standing) -> str:
    if standing.is_none:
        return "no defence"
    return "without noise level" if is_named(standing.clean) else "noise level"


def _places(comparison: Comparison, standings: Sequence[Standing]) -> tuple[list[float], list[float]]:
    lost = [100 * standing.clean["utility_drop"]["value"] for standing in standings]
    return lost, [comparison.utility(standing.worst)["value"] for standing in standings if standing.worst]


def _crosses(
    axes: Axes, comparison: Comparison, standings: Sequence[Standing], marker: str, colour: str, kind: str
) -> None:
    x, y = _places(comparison, standings)
    lost = [standing.clean["utility_drop"] for standing in standings]
    kept = [comparison.utility(standing.worst) for standing in standings if standing.worst]
    axes.errorbar(x, y, reach(kept), 100 * reach(lost), "none", ecolor=colour, elinewidth=1, alpha=0.35)
    axes.plot(x, y, marker, color=colour, label=kind, zorder=3)
    for left, standing in zip(x, standings, strict=True):
        _explain(axes, comparison, left, standing, standing.worst)


def _non_adaptive(
    axes: Axes, comparison: Comparison, standings: Sequence[Standing], marker: str, colour: str
) -> None:
    for standing in standings:
        if standing.worst and standing.worst_non_adaptive and not standing.is_none:
            lost = 100 * standing.clean["utility_drop"]["value"]
            ends = [comparison.utility(e)["value"] for e in (standing.worst, standing.worst_non_adaptive)]
            axes.plot([lost, lost], ends, ":", color=colour, linewidth=0.8, alpha=0.6)
            axes.plot(lost, ends[1], marker, color=colour, markerfacecolor="none", markersize=5, alpha=0.8)
            _explain(axes, comparison, lost, standing, standing.worst_non_adaptive)


def _explain(
    axes: Axes, comparison: Comparison, lost: float, standing: Standing, worst: Entry | None
) -> None:
    if worst is not None:
        kept, clean = comparison.utility(worst), comparison.utility(standing.clean)
        text = f"{condition(comparison.metric, kept, worst)}\non clean images {with_interval(clean)}"
        explain(axes, lost, kept["value"], text)


def _label_axes(axes: Axes, summary: Mapping[str, Any]) -> None:
    change = "growth" if summary["lower_is_better"] else "loss"
    axes.set_xlabel(f"relative {change} of {summary['utility']} on clean images in % (lower is better)")
    axes.set_ylabel(f"worst attack: {quantity(summary)}")
    if summary["lower_is_better"]:
        axes.invert_yaxis()
    else:
        _, top = axes.get_ylim()
        axes.set_ylim(-0.06 * top, top)  # room for marks at 0
    axes.grid(alpha=0.3)
    axes.plot([], [], "o", color=INK, markerfacecolor="none", markersize=5, label="worst non-adaptive attack")
