from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from dds.protocol.conditions import UNSEEN
from dds.reports.figures.notes import condition, explain
from dds.reports.figures.style import quantity
from dds.results.layout import Entry, Layout, Line, is_attacked

_DARK = 0.5  # luminance from which black is read better than white


def facets(layout: Layout) -> dict[str, list[Line]]:
    """Sort a run's lines by attack; under an empty name, what has no attacker."""
    found: dict[str, list[Line]] = {}
    for one in layout.lines:
        attacked = any(entry and is_attacked(entry) for entry in layout.row(one))
        found.setdefault(one[0] if attacked else "", []).append(one)
    return found


def view_heatmaps(figure: Figure, summary: Mapping[str, Any]) -> None:
    """Draw, for each attack, the utility over the attacker's view and the defence.

    One scale for all; the brighter, the better. A cell that was not run is hatched.
    """
    layout = Layout(summary["conditions"])
    parts = facets(layout)
    heights = [len(lines) for lines in parts.values()]
    rows = figure.subplots(len(parts), squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    values = {name: _values(summary, layout, lines) for name, lines in parts.items()}
    scale = Normalize(*_range(values.values(), summary["lower_is_better"]))
    for axes, (name, lines) in zip(rows, parts.items(), strict=True):
        _facet(axes, values[name], scale, summary["lower_is_better"])
        _explain(axes, summary["utility"], [layout.row(one) for one in lines])
        axes.set_yticks(np.arange(len(lines)) + 0.5, [_row_name(one) for one in lines])
        axes.set_title(name or "no attacker", loc="left", pad=3)
    names = [name.replace(" ", "\n") for name in layout.defences]
    rows[-1].set_xticks(np.arange(len(names)) + 0.5, names)
    rows[-1].set_xlabel(f"defence; in the cells: {quantity(summary)}")


def _explain(axes: Axes, utility: str, rows: Sequence[Sequence[Entry | None]]) -> None:
    for row, entries in enumerate(rows):
        for column, entry in enumerate(entries):
            if entry is not None:
                text = condition(utility, entry["metrics"][utility], entry)
                explain(axes, column + 0.5, row + 0.5, text, cell=True)


def _row_name(one: Line) -> str:
    attack, sees = one
    return attack if sees == UNSEEN else f"sees {sees}"


def _values(summary: Mapping[str, Any], layout: Layout, lines: list[Line]) -> NDArray[np.float64]:
    cells = [layout.row(one) for one in lines]
    return np.array(
        [[np.nan if e is None else e["metrics"][summary["utility"]]["value"] for e in row] for row in cells],
        dtype=float,
    )


def _range(values: Any, lower_is_better: bool) -> tuple[float, float]:
    known = np.concatenate([part[np.isfinite(part)] for part in values])
    if not known.size:
        return 0.0, 1.0
    return (float(known.min()) if lower_is_better else 0.0), float(known.max())


def _facet(axes: Axes, values: NDArray[np.float64], scale: Normalize, lower_is_better: bool) -> None:
    colours = colormaps["viridis_r" if lower_is_better else "viridis"]
    hatched: Any = {"hatch": "////", "edgecolor": "0.6", "fill": False, "linewidth": 0}
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, **hatched))
    axes.pcolormesh(np.ma.masked_invalid(values), cmap=colours, norm=scale, edgecolor="white", linewidth=1)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            bright = np.dot(colours(scale(value))[:3], (0.3, 0.59, 0.11)) > _DARK
            text = f"{value:.2f}"
            axes.text(
                column + 0.5, row + 0.5, text, ha="center", va="center", color="black" if bright else "white"
            )
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
