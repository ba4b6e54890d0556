"""Pictures of a run, made from its folder alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dds.results.table import defence_name

# Okabe & Ito's colours, told apart by people who see fewer
COLOURS = ("#009E73", "#D55E00", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DPI = 200


def draw_figures(summary: Mapping[str, Any], examples: Path, folder: Path, utility: str) -> list[Path]:
    """Draw every figure of a run as PNG.

    Args:
        summary: The content of `summary.json`.
        examples: The run's `examples.npz`.
        folder: Where the figures go.
        utility: The metric on the curve's axis.

    Returns:
        The files written.
    """
    with np.load(examples) as arrays:
        panels = example_panels(summary, dict(arrays))
    figures = {"utility": utility_curve(summary, utility), "examples": panels}
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=_DPI)
    return paths


def utility_curve(summary: Mapping[str, Any], metric: str) -> Figure:
    """Draw utility against the noise level: one line for the clean images, one for each attack and view."""
    figure = _figure(6.4, 4.0)
    axes = figure.subplots()
    entries = summary["conditions"]
    levels = sorted({entry["t"] for entry in entries if entry["t"] is not None})
    place = {None: 0, **{t: 1 + rank for rank, t in enumerate(levels)}}
    lines = list(dict.fromkeys((entry["attack"], entry["attacker_sees"]) for entry in entries))
    start = _undefended(entries)
    for colour, (attack, sees) in zip(COLOURS * len(lines), lines, strict=False):
        points = [e for e in entries if (e["attack"], e["attacker_sees"]) == (attack, sees)]
        if sees == "same" and attack in start:
            points = [start[attack], *points]  # with no defence, the same as no purifier
        label = "clean" if attack == "clean" else f"{attack}, attacker sees {sees}"
        _line(axes, [place[e["t"]] for e in points], [e["metrics"][metric] for e in points], colour, label)
    sigmas = {entry["t"]: entry["sigma"] for entry in entries}
    labels = ["none", *(f"t={t}\nσ={sigmas[t]:.2f}" for t in levels)]
    axes.set_xticks(range(len(labels)), labels)
    axes.set(xlabel="defence: noise level", ylabel=f"{metric} (higher is better)", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def _undefended(entries: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {e["attack"]: e for e in entries if e["t"] is None and e["attacker_sees"] == "none"}


def _line(axes: Axes, x: list[int], values: list[Any], colour: str, label: str) -> None:
    y, low, high = (np.array([v[k] for v in values], dtype=float) for k in ("value", "low", "high"))
    axes.plot(x, y, marker="o", color=colour, label=label)
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def example_panels(summary: Mapping[str, Any], examples: Mapping[str, Any], images: int = 2) -> Figure:
    """Show images under the clean conditions and the first attack: what the task sees, and what it says."""
    entries = summary["conditions"]
    lines = list(dict.fromkeys((entry["attack"], entry["attacker_sees"]) for entry in entries))
    images = min(images, len(examples["original"]))
    columns = list(dict.fromkeys(entry["defence"] for entry in entries))
    rows = [(image, line) for image in range(images) for line in lines]
    figure = _figure(1.5 * len(columns) + 1.0, 1.5 * 2 * len(rows))
    grid = figure.subplots(2 * len(rows), len(columns), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    cells = {(e["attack"], e["attacker_sees"], e["defence"]): e for e in entries}
    for number, (image, line) in enumerate(rows):
        for column, defence in enumerate(columns):
            entry = cells.get((*line, defence))
            if entry is not None:
                _panel(grid[2 * number : 2 * number + 2, column], entry, examples, image)
        _name_row(grid[2 * number, 0], line)
    for axes, defence in zip(grid[0], columns, strict=True):
        named = next(entry for entry in entries if entry["defence"] == defence)
        axes.set_title(defence_name(named).replace(" ", "\n", 1), fontsize=9)
    return figure


def _panel(pair: Any, entry: Mapping[str, Any], examples: Mapping[str, Any], image: int) -> None:
    pair[0].imshow(examples[f"shown:{entry['key']}"][image], interpolation="nearest")
    decision = examples[f"decision:{entry['key']}"][image]
    if decision.ndim == 3:
        pair[1].imshow(decision, interpolation="nearest")
    else:
        pair[1].text(0.5, 0.9, str(decision), ha="center", va="top", fontsize=8)


def _name_row(axes: Axes, line: tuple[str, str]) -> None:
    attack, sees = line
    name = "clean" if attack == "clean" else f"{attack}\nsees {sees}"
    axes.text(-0.12, 0.0, name, transform=axes.transAxes, ha="right", va="center", fontsize=9)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # draw without a screen
    return figure
