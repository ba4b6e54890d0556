from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from dds.results.layout import Layout, Line, line_name

_GAP = 0.06  # between pictures, in parts of a column's width
_ABOVE = 0.1  # between a picture and its caption, likewise
_LINE = 0.15  # a line of a caption, likewise


def line_height(examples: Mapping[str, Any]) -> float:
    """Return the height of a line of panels, what the task sees and what it says, in columns' widths."""
    said = [one for name, shown in examples.items() if name.startswith("decision:") for one in shown]
    tall = _height(examples)
    if said[0].ndim:
        return 2 * tall + 3 * _GAP
    lines = max(_broken(one).count("\n") + 1 for one in said)
    return tall + _ABOVE + (lines + 0.5) * _LINE + 3 * _GAP


def _broken(caption: Any) -> str:
    return str(caption).replace(" (", "\n(")


def _height(examples: Mapping[str, Any]) -> float:
    """Return that of a picture, likewise."""
    _, height, width, _ = examples["original"].shape
    return (1 - _GAP) * float(height / width)


def example_panels(
    figure: FigureBase,
    summary: Mapping[str, Any],
    examples: Mapping[str, Any],
    lines: Sequence[Line],
    image: int = 0,
) -> None:
    """Show one image under every defence: what the task sees, and below it what the task says.

    Args:
        figure: Where to draw.
        summary: The content of `summary.json`.
        examples: Arrays of `examples.npz`.
        lines: Which attacks and views are shown.
        image: Which of the examples.
    """
    layout, axes = Layout(summary["conditions"]), figure.subplots()
    tall, pitch = _height(examples), line_height(examples)
    for row, line in enumerate(lines):
        for column, entry in enumerate(layout.row(line)):
            if entry is not None and f"shown:{entry['key']}" in examples:
                _place(axes, examples[f"shown:{entry['key']}"][image], column, row * pitch, tall)
                below = row * pitch + tall + _GAP
                _place(axes, examples[f"decision:{entry['key']}"][image], column, below, tall)
    middles = [row * pitch + (pitch - 2 * _GAP) / 2 for row in range(len(lines))]
    names = [line_name(line).replace(", ", "\n").replace(" sees", "\nsees") for line in lines]
    axes.set_yticks(middles, names)
    axes.set_xticks([column + 0.5 for column in range(len(layout.defences))])
    axes.set_xticklabels([name.replace(" ", "\n") for name in layout.defences])
    axes.set(xlim=(0, len(layout.defences)), ylim=(len(lines) * pitch, -_GAP), aspect="equal")
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)


def _place(axes: Axes, shown: Any, left: float, top: float, tall: float) -> None:
    """Show a picture `[H, W, 3]`, or a caption, in a column 1 wide."""
    if shown.ndim == 3:
        axes.imshow(shown, interpolation="nearest", extent=(left, left + 1 - _GAP, top + tall, top))
    else:
        place = (left + 0.5 - _GAP / 2, top + _ABOVE)
        axes.text(*place, _broken(shown), ha="center", va="top", fontsize=7)
