"""Pictures of a run, made from its folder alone."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase

from dds.protocol.conditions import UNSEEN
from dds.results.sanity import find_curves, measures, without_curves
from dds.results.table import defence_name

# Okabe & Ito's colours, told apart by people who see fewer
COLOURS = ("#009E73", "#D55E00", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
_DPI = 150
_INSIDE = 4  # lines whose names have room beside the lines
_DASHES = ("-", "-", "--", ":", "-.")  # the first is of what has no attacker

Line = tuple[str, str]
"""An attack and what the attacker sees."""

Point = tuple[float, Mapping[str, Any]]
"""Place on the axis, and a metric's value and interval."""


def draw_figures(summary: Mapping[str, Any], examples: Path, folder: Path) -> list[Path]:
    """Draw every figure of a run as PNG.

    Attacks that are points of sanity curves have a figure of their own and are left out of the others.

    Args:
        summary: The content of `summary.json`.
        examples: The run's `examples.npz`.
        folder: Where the figures go.

    Returns:
        The files written.
    """
    with np.load(examples) as arrays:
        figures = _overviews(without_curves(summary), dict(arrays))
    if curves := find_curves(summary):
        settings = {curve.setting for curve in curves}
        figures["sanity"] = _figure(4 * len(settings) + 1, 3 * len(measures(summary)) + 1)
        sanity_curves(figures["sanity"], summary)
    paths = [folder / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        figure.savefig(path, dpi=_DPI)
    return paths


def _overviews(summary: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw utility over the noise level, example panels, and both together."""
    defences, lines = _defences(summary), _lines(summary)
    curve, panels = _figure(len(defences) + 3, 4.5), _figure(1.4 * len(defences) + 1, 2.8 * len(lines) + 0.5)
    utility_curve(curve, summary)
    example_panels(panels, summary, shown)
    overview = _figure(1.4 * len(defences) + 8, 2.8 * len(lines) + 0.5)
    halves: Any = overview.subfigures(1, 2, width_ratios=[1.4 * len(defences) + 1, 7])
    left, right = halves
    example_panels(left, summary, shown)
    utility_curve(right, summary)
    return {"utility": curve, "examples": panels, "overview": overview}


def utility_curve(figure: FigureBase, summary: Mapping[str, Any]) -> None:
    """Draw utility against the noise level: a line for the clean images and for each attack and view.

    Defences without a noise level stand beside the lines.
    """
    axes, metric = figure.subplots(), summary["utility"]
    entries, defences = summary["conditions"], _defences(summary)
    place = {name: rank for rank, name in enumerate(defences)}
    undefended = {e["attack"]: e for e in entries if e["t"] is None and e["attacker_sees"] == "none"}
    for (attack, sees), (colour, dashes) in _styles(_lines(summary)).items():
        points = [e for e in entries if (e["attack"], e["attacker_sees"]) == (attack, sees)]
        if sees in ("same", "fixed_noise") and attack in undefended:
            points = [undefended[attack], *points]  # with no defence, the same as no purifier
        levels = [(place[defence_name(e)], e["metrics"][metric]) for e in points if not _is_named(e)]
        named = [(place[defence_name(e)], e["metrics"][metric]) for e in points if _is_named(e)]
        _line(axes, sorted(levels, key=itemgetter(0)), colour, dashes, _line_name(attack, sees))
        _marks(axes, named, colour)
    axes.set_xticks(range(len(defences)), [name.replace(" ", "\n") for name in defences])
    better = "lower" if summary["lower_is_better"] else "higher"
    axes.set(xlabel="defence", ylabel=f"{metric} ({better} is better)", ylim=(0, None))
    few = len(axes.get_legend_handles_labels()[0]) <= _INSIDE
    beside: dict[str, Any] = {} if few else {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    axes.legend(frameon=False, **beside)
    axes.grid(alpha=0.3)


def example_panels(
    figure: FigureBase, summary: Mapping[str, Any], examples: Mapping[str, Any], image: int = 0
) -> None:
    """Show one image under every condition: what the task sees, and below it what the task says."""
    defences, lines = _defences(summary), _lines(summary)
    grid = figure.subplots(2 * len(lines), len(defences), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for entry in summary["conditions"]:
        row = 2 * lines.index((entry["attack"], entry["attacker_sees"]))
        column = defences.index(defence_name(entry))
        _panel(grid[row, column], grid[row + 1, column], entry["key"], examples, image)
    for row, (attack, sees) in enumerate(lines):
        name = _line_name(attack, sees).replace(", ", "\n").replace(" sees", "\nsees")
        grid[2 * row, 0].text(-0.1, 0.0, name, transform=grid[2 * row, 0].transAxes, ha="right", va="center")
    for axes, name in zip(grid[0], defences, strict=True):
        axes.set_title(name.replace(" ", "\n"), fontsize=10)


def sanity_curves(figure: Figure, summary: Mapping[str, Any]) -> None:
    """Draw the measures of the attacks' strength, a row each, against their settings, a column each."""
    curves, called = find_curves(summary), measures(summary)
    settings = list(dict.fromkeys(curve.axis for curve in curves))
    styles = _styles(list(dict.fromkeys((curve.defence, curve.attacker_sees) for curve in curves)))
    grid = figure.subplots(len(called), len(settings), squeeze=False, sharex="col")
    for row, (measure, name) in zip(grid, called.items(), strict=True):
        for curve in curves:
            style = styles[curve.defence, curve.attacker_sees]
            _line(row[settings.index(curve.axis)], curve.values(measure), *style, curve.line)
        row[0].set_ylabel(f"{name}\n(higher: a stronger attack)")
    for axes in grid.flat:
        axes.set_ylim(min(0, axes.dataLim.y0), None)
        axes.grid(alpha=0.3)
    for axes, setting in zip(grid[-1], settings, strict=True):
        _number_axis(axes, setting, {number for c in curves if c.axis == setting for number, _ in c.points})
    lines = {line.get_label(): line for axes in grid.flat for line in axes.lines}
    figure.legend(handles=list(lines.values()), loc="outside upper center", frameon=False)


def _number_axis(axes: Axes, setting: str, numbers: set[float]) -> None:
    """Label an axis with the numbers that were measured, evenly spaced where they double."""
    axes.set_xscale("log" if min(numbers) > 0 else "linear")
    axes.set_xticks(list(numbers), [f"{number:g}" for number in numbers])
    axes.minorticks_off()
    axes.set_xlabel(setting)


def _panel(seen: Axes, said: Axes, key: str, examples: Mapping[str, Any], image: int) -> None:
    seen.imshow(examples[f"shown:{key}"][image], interpolation="nearest")
    decision = examples[f"decision:{key}"][image]
    if decision.ndim == 3:
        said.imshow(decision, interpolation="nearest")
    else:
        said.text(
            0.5, 0.95, str(decision).replace(" (", "\n("), ha="center", va="top", transform=said.transAxes
        )


def _styles(lines: list[Line]) -> dict[Line, tuple[str, str]]:
    """Give each line a colour and dashes; where colours do not suffice, an attack a colour, a view dashes."""
    if len(lines) <= len(COLOURS):
        return {line: (colour, "-") for line, colour in zip(lines, COLOURS, strict=False)}
    colours = dict(zip(dict.fromkeys(attack for attack, _ in lines), cycle(COLOURS), strict=False))
    dashes = dict(zip(dict.fromkeys(sees for _, sees in lines), cycle(_DASHES), strict=False))
    return {(attack, sees): (colours[attack], dashes[sees]) for attack, sees in lines}


def _line(axes: Axes, points: Sequence[Point], colour: str, dashes: str, label: str) -> None:
    x, y, low, high = _columns(points)
    axes.plot(x, y, marker="o", color=colour, linestyle=dashes, label=label)
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _marks(axes: Axes, points: Sequence[Point], colour: str) -> None:
    x, y, low, high = _columns(points)
    axes.vlines(x, low, high, color=colour, alpha=0.4)
    axes.plot(x, y, marker="D", color=colour, linestyle="none")


def _columns(points: Sequence[Point]) -> tuple[list[float], Any, Any, Any]:
    values = [[value[k] for _, value in points] for k in ("value", "low", "high")]
    y, low, high = np.array(values, dtype=float)
    return [x for x, _ in points], y, low, high


def _is_named(entry: Mapping[str, Any]) -> bool:
    return entry["defence"] is not None and entry["t"] is None


def _line_name(attack: str, sees: str) -> str:
    return attack if sees == UNSEEN else f"{attack}, attacker sees {sees}"


def _defences(summary: Mapping[str, Any]) -> list[str]:
    """Return the names of the defences: none, then by noise level, then those without one."""
    entries = sorted(summary["conditions"], key=lambda entry: (_is_named(entry), entry["t"] or 0))
    return list(dict.fromkeys(defence_name(entry) for entry in entries))


def _lines(summary: Mapping[str, Any]) -> list[Line]:
    return list(dict.fromkeys((entry["attack"], entry["attacker_sees"]) for entry in summary["conditions"]))


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # draw without a screen
    return figure
