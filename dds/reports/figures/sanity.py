from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dds.reports.figures.notes import condition, explain
from dds.reports.figures.style import line, styles
from dds.results.sanity import find_curves, measures, read


def sanity_curves(figure: Figure, summary: Mapping[str, Any]) -> None:
    """Draw the measures of the attacks' strength, a row each, against their settings, a column each."""
    curves, called = find_curves(summary), measures(summary)
    settings = list(dict.fromkeys(curve.axis for curve in curves))
    looks = styles(list(dict.fromkeys((curve.defence, curve.attacker_sees) for curve in curves)))
    grid = figure.subplots(len(called), len(settings), squeeze=False, sharex="col")
    for row, (measure, name) in zip(grid, called.items(), strict=True):
        for curve in curves:
            look, axes = looks[curve.defence, curve.attacker_sees], row[settings.index(curve.axis)]
            line(axes, curve.values(measure), *look, curve.line)
            for number, entry in curve.points:
                if (values := read(entry, measure)) is not None:
                    explain(axes, number, values["value"], condition(name, values, entry))
        row[0].set_ylabel(f"{name}\n(higher: a stronger attack)")
    for axes in grid.flat:
        axes.set_ylim(min(0, axes.dataLim.y0), None)
        axes.grid(alpha=0.3)
    for axes, setting in zip(grid[-1], settings, strict=True):
        _number_axis(axes, setting, {number for c in curves if c.axis == setting for number, _ in c.points})
    lines = {one.get_label(): one for axes in grid.flat for one in axes.lines}
    figure.legend(handles=list(lines.values()), loc="outside upper center", frameon=False)


def _number_axis(axes: Axes, setting: str, numbers: set[float]) -> None:
    """Label an axis with the numbers that were measured, evenly spaced where they double."""
    axes.set_xscale("log" if min(numbers) > 0 else "linear")
    axes.set_xticks(list(numbers), [f"{number:g}" for number in numbers])
    axes.minorticks_off()
    axes.set_xlabel(setting)
