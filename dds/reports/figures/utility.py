from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from dds.protocol.conditions import UNSEEN
from dds.reports.figures.notes import condition, explain
from dds.reports.figures.style import COLOURS, INK, Point, line, marks, quantity, styles
from dds.results.layout import Entry, Layout, Line, is_named, line_name, sight_name

TOGETHER = 8  # lines that can be told apart in one picture
_SHIFT = 0.09  # between marks that would lie on each other
_DASHES = ("-", "--", ":", "-.")

Look = tuple[str, str]
"""Colour and dashes."""


def utility_curve(figure: FigureBase, summary: Mapping[str, Any]) -> None:
    """Draw utility against the noise level: a line for the clean images and for each attack and view.

    Where the lines are too many, each of the attacker's views has axes of its own, with the clean images in
    each. Defences without a noise level stand beside the lines.
    """
    layout = Layout(summary["conditions"])
    if len(layout.lines) <= TOGETHER:
        _together(figure.subplots(), summary, layout)
    else:
        _by_sight(figure, summary, layout)


def _together(axes: Axes, summary: Mapping[str, Any], layout: Layout) -> None:
    for one, look in styles(layout.lines).items():
        _course(axes, summary, layout, one, look, line_name(one))
    _finish(axes, layout, summary)
    axes.set_ylabel(quantity(summary))
    axes.set_ylim(0, None)
    axes.legend(frameon=False)


def sights(layout: Layout) -> list[str]:
    """Return what the attackers of a run see; first `-`, of the images without one."""
    return list(dict.fromkeys(sees for _, sees in layout.lines))


def _by_sight(figure: FigureBase, summary: Mapping[str, Any], layout: Layout) -> None:
    rows = figure.subplots(len(sights(layout)), squeeze=False, sharex=True, sharey=True)[:, 0]
    looks = _looks(layout)
    for axes, sees in zip(rows, sights(layout), strict=True):
        _one_sight(axes, summary, layout, sees, looks)
        _finish(axes, layout, summary)
        axes.tick_params("x", labelsize=7)
        axes.label_outer()
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.05))
    rows[0].set_ylim(0, None)  # of all, when all are drawn
    figure.supylabel(quantity(summary), fontsize=9)


def _looks(layout: Layout) -> dict[Line, Look]:
    """Give an attack the same colour and dashes under every view; what has no attacker has its own axes."""
    clean, *others = layout.lines
    looks = {clean: (INK, "-")}
    for attacked in (False, True):
        lines = [one for one in others if (one[1] != UNSEEN) == attacked]
        own = dict(zip(dict.fromkeys(attack for attack, _ in lines), _cycle(), strict=False))
        looks |= {(attack, sees): own[attack] for attack, sees in lines}
    return looks


def _cycle() -> Iterator[Look]:
    return zip(cycle(COLOURS[:-2]), cycle(_DASHES), strict=False)


def _one_sight(
    axes: Axes, summary: Mapping[str, Any], layout: Layout, sees: str, looks: Mapping[Line, Look]
) -> None:
    clean, *_ = layout.lines
    lines = list(dict.fromkeys([clean, *(one for one in layout.lines if one[1] == sees)]))
    for rank, one in enumerate(lines):
        shift = _SHIFT * (rank - (len(lines) - 1) / 2)
        _course(axes, summary, layout, one, looks[one], one[0], band=0.12, shift=shift)
    axes.set_title("no attacker" if sees == UNSEEN else f"attacker sees {sight_name(sees)}", loc="left")


def _course(
    axes: Axes,
    summary: Mapping[str, Any],
    layout: Layout,
    one: Line,
    look: Look,
    name: str,
    band: float = 0.2,
    shift: float = 0.0,
) -> None:
    """Draw a line over the noise levels, and marks at defences without one, moved aside by `shift`."""
    colour, dashes = look
    levels: list[Point] = []
    named: list[Point] = []
    for place, entry in enumerate(_row(layout, one)):
        if entry is not None:
            x, values = place + shift * is_named(entry), entry["metrics"][summary["utility"]]
            (named if is_named(entry) else levels).append((x, values))
            explain(axes, x, values["value"], condition(summary["utility"], values, entry))
    line(axes, levels, colour, dashes, name, band)
    marks(axes, named, colour)


def _row(layout: Layout, one: Line) -> list[Entry | None]:
    """Return a line's condition for each defence."""
    attack, sees = one
    row = layout.row(one)
    if sees in ("same", "fixed_noise"):  # with no defence, the same as no purifier
        bare = layout.row((attack, "none"))
        row = [own or (other if _is_bare(other) else None) for own, other in zip(row, bare, strict=True)]
    return row


def _is_bare(entry: Entry | None) -> bool:
    return entry is not None and entry["defence"] is None


def _finish(axes: Axes, layout: Layout, summary: Mapping[str, Any]) -> None:
    axes.set_xticks(range(len(layout.defences)), [name.replace(" ", "\n") for name in layout.defences])
    axes.set_xlabel("defence")
    axes.grid(alpha=0.3)
