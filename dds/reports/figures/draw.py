"""Figures of a run, made from its folder alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from dds.reports.figures.certified import certified_curves, certified_size
from dds.reports.figures.examples import example_panels, line_height
from dds.reports.figures.heatmap import facets, view_heatmaps
from dds.reports.figures.sanity import sanity_curves
from dds.reports.figures.style import STYLE, blank, write
from dds.reports.figures.trade_off import comparable, trade_off
from dds.reports.figures.utility import TOGETHER, sights, utility_curve
from dds.results.layout import Layout, is_attacked
from dds.results.radius_curves import drawn_curves, radius_curves
from dds.results.sanity import find_curves, measures, without_curves
from dds.results.standing import Comparison

_WIDTH = 7.2  # inches, two columns of a paper
_COLUMN = 0.8  # likewise, of example panels


def draw_figures(summary: Mapping[str, Any], examples: Path, folder: Path) -> list[Path]:
    """Draw every figure of a run as PNG and as SVG.

    Attacks that are points of sanity curves have a figure of their own and are left out of the others.

    Args:
        summary: The content of `summary.json`.
        examples: The run's `examples.npz`.
        folder: Where the figures go.

    Returns:
        The PNG files; the SVG files lie beside them.
    """
    compared = without_curves(summary)
    with rc_context(STYLE):
        with np.load(examples) as arrays:
            figures = {"utility": _utility(compared), **_pictures(compared, dict(arrays))}
        if comparable(Comparison(compared)):
            figures["trade_off"] = _trade_off(compared)
        if any(map(is_attacked, compared["conditions"])):
            figures["heatmap"] = _heatmap(compared)
        if find_curves(summary):
            figures["sanity"] = _sanity(summary)
        if radius_curves(summary):
            figures["certified"] = _certified(summary)
        return [write(figure, folder / name)[0] for name, figure in figures.items()]


def _utility(summary: Mapping[str, Any]) -> Figure:
    figure = blank(*_size_of_curves(Layout(summary["conditions"])))
    utility_curve(figure, summary)
    return figure


def _size_of_curves(layout: Layout) -> tuple[float, float]:
    """Return width and height in inches."""
    if len(layout.lines) <= TOGETHER:
        return max(4.5, 0.75 * len(layout.defences)), 3.4
    return _WIDTH, 1.7 * len(sights(layout))


def _pictures(summary: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw example panels, and them together with the utility."""
    lines = Comparison(summary).telling_lines()
    layout = Layout(summary["conditions"])
    width = _COLUMN * len(layout.defences) + 1
    height = _COLUMN * line_height(shown) * len(lines) + 0.45
    panels = blank(width, height)
    overview = blank(width + _WIDTH, max(height, _size_of_curves(layout)[1]))
    example_panels(panels, summary, shown, lines)
    halves: Any = overview.subfigures(1, 2, width_ratios=[width, _WIDTH])
    left, right = halves
    example_panels(left, summary, shown, lines)
    utility_curve(right, summary)
    return {"examples": panels, "overview": overview}


def _trade_off(summary: Mapping[str, Any]) -> Figure:
    figure = blank(_WIDTH * 0.8, 4.2)
    trade_off(figure, summary)
    return figure


def _heatmap(summary: Mapping[str, Any]) -> Figure:
    layout = Layout(summary["conditions"])
    parts = facets(layout)
    width, height = 0.55 * len(layout.defences) + 1.2, 0.24 * len(layout.lines) + 0.26 * len(parts) + 0.7
    figure = blank(max(4.5, width), height)
    view_heatmaps(figure, summary)
    return figure


def _certified(summary: Mapping[str, Any]) -> Figure:
    curves = drawn_curves(radius_curves(summary))
    figure = blank(*certified_size(curves))
    certified_curves(figure, curves)
    return figure


def _sanity(summary: Mapping[str, Any]) -> Figure:
    settings = {curve.setting for curve in find_curves(summary)}
    figure = blank(2.6 * len(settings) + 0.6, 2.2 * len(measures(summary)) + 0.8)
    sanity_curves(figure, summary)
    return figure
