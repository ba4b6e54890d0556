"""What all figures have in common: colours, fonts, and how they are written."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dds.reports.figures.notes import titles
from dds.results.layout import Line, utility_name
from dds.results.sanity import Values

INK = "#1a1c1e"
"""Text and axes; a page that holds a figure may put its own colour in place of it."""

COLOURS = ("#009E73", "#D55E00", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9", INK, "#F0E442")
"""Okabe & Ito's, told apart by people who see fewer."""

STYLE: Any = {
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.composite_image": False,  # pictures keep their pixels
    "svg.fonttype": "none",  # text stays text: searchable, and half the size
    "svg.hashsalt": "dds",  # the same figure, the same file
    "text.parse_math": False,  # names are the users', `$` too
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
"""Settings of matplotlib under which figures are drawn and written."""

DPI = 200
_DASHES = ("-", "-", "--", ":", "-.")  # the first is of what has no attacker

Point = tuple[float, Values]
"""Place on the axis, and a metric's value and interval."""


def blank(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that needs no screen."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG, on white, and as SVG without background, with notes; `path` has no suffix."""
    png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
    figure.savefig(png, dpi=DPI)
    figure.set_layout_engine("none")  # as laid out, and not once more
    figure.savefig(svg, transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg.write_text(svg.read_text().replace("</svg>", f"{titles(figure)}</svg>"))
    return [png, svg]


def quantity(summary: Mapping[str, Any]) -> str:
    """Return the utility with its unit and the direction of better, for an axis."""
    return f"{utility_name(summary)} ({'lower' if summary['lower_is_better'] else 'higher'} is better)"


def styles(lines: Sequence[Line]) -> dict[Line, tuple[str, str]]:
    """Give each line a colour and dashes; where colours do not suffice, an attack a colour, a view dashes."""
    if len(lines) <= len(COLOURS):
        return {line: (colour, "-") for line, colour in zip(lines, COLOURS, strict=False)}
    colours = dict(zip(dict.fromkeys(attack for attack, _ in lines), cycle(COLOURS), strict=False))
    dashes = dict(zip(dict.fromkeys(sees for _, sees in lines), cycle(_DASHES), strict=False))
    return {(attack, sees): (colours[attack], dashes[sees]) for attack, sees in lines}


def line(
    axes: Axes, points: Sequence[Point], colour: str, dashes: str, label: str, band: float = 0.2
) -> None:
    """Draw values and their intervals over places that follow each other."""
    x, y, low, high = _columns(points)
    axes.plot(x, y, marker="o", markersize=4, color=colour, linestyle=dashes, label=label)
    axes.fill_between(x, low, high, color=colour, alpha=band, linewidth=0)


def marks(axes: Axes, points: Sequence[Point], colour: str) -> None:
    """Draw values and their intervals at places that have no order."""
    x, y, low, high = _columns(points)
    axes.vlines(x, low, high, color=colour, alpha=0.4)
    axes.plot(x, y, marker="D", markersize=4, color=colour, linestyle="none")


def reach(estimates: Sequence[Mapping[str, float | None]]) -> Any:
    """Return how far intervals reach below and above their values, `[2, N]`; 0 where they are not known."""
    ends = np.array([[one[end] for one in estimates] for end in ("low", "value", "high")], dtype=float)
    return np.maximum(np.nan_to_num(np.diff(ends, axis=0)), 0)


def _columns(points: Sequence[Point]) -> tuple[list[float], Any, Any, Any]:
    values = [[value[k] for _, value in points] for k in ("value", "low", "high")]
    y, low, high = np.array(values, dtype=float)
    return [x for x, _ in points], y, low, high
