"""What is certified and what attacks leave, over the radius: the truth lies between."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dds.reports.figures.comparison import looks
from dds.reports.figures.notes import explain
from dds.reports.figures.style import COLOURS, INK, STYLE, blank, write
from dds.results.layout import number
from dds.results.radius_curves import RadiusCurve

_GREEN, _ORANGE = COLOURS[0], COLOURS[1]
_ABREAST = 4  # levels beside each other where runs are compared
_WIDTH = 7.2  # inches, two columns of a paper


def certified_size(curves: Sequence[RadiusCurve]) -> tuple[float, float]:
    """Return width and height of the figure of a run, in inches."""
    return max(4.5, 1.6 * len(_levels(curves)) + 0.6), 1.9 * len(_rows(curves)) + 1.1


def certified_curves(figure: Figure, curves: Sequence[RadiusCurve]) -> None:
    """Draw what is certified and what attacks have left over the L2 radius: a column a level, a row a score.

    Both begin with the clean mean at radius 0; the part to the first certificate is dotted, as nothing is
    certified there. Shaded is where the expected score under the worst attack lies, but for the luck of the
    draws under attack: of a few, their mean may lie above the clean one.
    """
    rows, levels = _rows(curves), _levels(curves)
    grid = figure.subplots(len(rows), len(levels), squeeze=False, sharey="row", sharex="col")
    for curve in curves:
        _panel(grid[rows.index(curve.row), levels.index(curve.level)], curve)
    for axes, level in zip(grid[0], levels, strict=True):
        axes.set_title(level)
    for axes, row in zip(grid[:, 0], rows, strict=True):
        axes.set_ylabel(row)
    figure.supxlabel("L2 radius (pixels in [0, 1])", fontsize=9)
    _legend(figure, ncols=4 if figure.get_figwidth() > _WIDTH else 2)


def draw_certified_runs(runs: Mapping[str, Sequence[RadiusCurve]], folder: Path) -> list[Path]:
    """Draw the certified curves of several runs over each other as PNG and as SVG.

    Args:
        runs: The name of each run, and its curves.
        folder: Where the figure goes.

    Returns:
        The PNG file, none where nothing is certified.
    """
    known = {name: curves for name, curves in runs.items() if curves}
    if not known:
        return []
    levels = _levels([curve for curves in known.values() for curve in curves])
    with rc_context(STYLE):
        figure = blank(_WIDTH, 2.3 * ceil(len(levels) / _ABREAST) + 0.17 * len(known) + 0.5)
        certified_runs(figure, known)
        return write(figure, folder / "certified")[:1]


def certified_runs(figure: Figure, runs: Mapping[str, Sequence[RadiusCurve]]) -> None:
    """Draw the first score of each run over the radius, a panel a level; hollow: under attack."""
    levels = _levels([curve for curves in runs.values() for curve in curves])
    columns = min(len(levels), _ABREAST)
    grid = figure.subplots(ceil(len(levels) / columns), columns, squeeze=False, sharey=True)
    for (name, curves), look in zip(runs.items(), looks(runs).values(), strict=True):
        for curve in (one for one in curves if one.row == curves[0].row):
            axes = grid.flat[levels.index(curve.level)]
            mark = {"color": look.colour, "marker": look.marker, "markersize": 4}
            axes.plot(*_columns(curve.certified), linestyle=look.dashes, label=f"{name}: {curve.row}", **mark)
            start = [(0.0, curve.first["mean"])]
            axes.plot(*_columns(start + curve.attacked), ":", markerfacecolor="none", linewidth=1, **mark)
            _explain(axes, curve, f"{name}: ")
    for axes, level in zip(grid.flat, levels, strict=False):
        axes.set_title(level)
        _finish(axes)
    for axes in grid.flat[len(levels) :]:
        axes.remove()
    figure.supylabel("expected score of an image", fontsize=9)
    figure.supxlabel("L2 radius (pixels in [0, 1])", fontsize=9)
    _legend(figure, handlelength=4)


def _panel(axes: Axes, curve: RadiusCurve) -> None:
    clean = (0.0, curve.first["mean"])
    certified, attacked = curve.certified, curve.attacked
    axes.plot(*_columns([clean, certified[0]]), ":", color=_GREEN, linewidth=1)
    if attacked:
        x, above = _columns([clean, *attacked])
        below = np.interp(x, *_columns([clean, *certified]))
        axes.fill_between(
            x, below, above, color=INK, alpha=0.12, linewidth=0, label="the worst attack: between"
        )
        axes.plot(x, above, "-", marker="s", markersize=3.5, color=_ORANGE, label="under attack (mean)")
    side = "upper" if curve.first.get("lower_is_better") else "lower"
    mark: Any = {"marker": "o", "markersize": 4, "color": _GREEN, "label": f"certified ({side} bound)"}
    axes.plot(*_columns(certified), "-", **mark)
    axes.plot(*clean, "D", color=INK, markersize=4, label="clean mean", zorder=3)
    _explain(axes, curve)
    axes.set_xticks([0, *(radius for radius, _ in certified if radius)])
    axes.xaxis.set_major_formatter(lambda place, _: f"{place:.2g}")
    axes.tick_params("x", labelsize=7)
    _finish(axes)


def _explain(axes: Axes, curve: RadiusCurve, run: str = "") -> None:
    """Let the marks at each radius say all that is known there."""
    side = "at most" if curve.first.get("lower_is_better") else "at least"
    for entry in curve.entries:
        lines = [f"certified: {side} {number(entry['value'])}", f"without attack {number(entry['mean'])}"]
        if "attacked" in entry:
            bound = f"upper confidence bound {number(entry['attacked_upper'])}"
            lines.append(f"under attack {number(entry['attacked'])}, {bound}")
        text = "\n".join([f"{run}{curve.row}, {curve.level}, L2 radius {entry['radius']:.3g}", *lines])
        for end in ("value", "attacked"):
            explain(axes, entry["radius"], entry.get(end), text)


def _finish(axes: Axes) -> None:
    axes.set_ylim(0, max(1.02, axes.dataLim.y1 * 1.05))
    axes.grid(alpha=0.3)


def _legend(figure: Figure, **look: Any) -> None:
    """Name, above the panels, what any of them shows."""
    shown: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(name, handle)
    figure.legend(list(shown.values()), list(shown), loc="outside upper center", frameon=False, **look)


def _rows(curves: Sequence[RadiusCurve]) -> list[str]:
    return list(dict.fromkeys(curve.row for curve in curves))


def _levels(curves: Sequence[RadiusCurve]) -> list[str]:
    """Return noise levels by rising sigma."""
    ordered = sorted(curves, key=lambda curve: curve.first["sigma"])
    return list(dict.fromkeys(curve.level for curve in ordered))


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
