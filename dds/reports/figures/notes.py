"""What the marks of a figure say when they are pointed at."""

from html import escape

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D, Bbox

from dds.protocol.conditions import UNSEEN
from dds.results.layout import Entry, defence_name, line_of, sight_name, with_interval
from dds.results.sanity import Values

_REACH = 5.0  # points around the middle of a mark


class Note(Artist):
    """Text of a mark or a cell. It draws nothing; SVG files hold it as the `<title>` of what cannot be seen.

    Args:
        x: The middle, in the units of the axes.
        y: Likewise.
        text: Lines.
        cell: Whether it is of all that is nearer than half a unit.
    """

    def __init__(self, x: float, y: float, text: str, cell: bool) -> None:
        super().__init__()
        self.place, self.text, self.cell = (x, y), text, cell
        self.set_in_layout(False)

    def box(self, points: float) -> Bbox:
        """Return what it lies over, in pixels; `points` of them are one point."""
        if self.cell:
            corners = np.add(self.place, [[-0.5, -0.5], [0.5, 0.5]])
            return Bbox(self.get_transform().transform(corners))
        middle = self.get_transform().transform(self.place)
        return Bbox([middle, middle]).padded(_REACH * points)


def explain(axes: Axes, x: float, y: float | None, text: str, cell: bool = False) -> None:
    """Let a mark, or a cell one unit wide, say what it is; a value that is not known has no mark."""
    if y is not None and np.isfinite([x, y]).all():
        axes.add_artist(Note(x, y, text, cell))


def condition(name: str, values: Values, entry: Entry) -> str:
    """Write a metric of a condition with its interval, and which condition that is."""
    attack, sees = line_of(entry)
    sight = "no attacker" if sees == UNSEEN else f"the attacker sees {sight_name(sees)}"
    measured = f"{name} {with_interval(values, '95 % interval ')}"
    return "\n".join([measured, f"{attack}, {sight}", defence_name(entry), entry["key"]])


def titles(figure: Figure) -> str:
    """Return the notes of a figure that is laid out, as elements of its SVG."""
    points = figure.dpi / 72
    flip = Affine2D().scale(1 / points, -1 / points).translate(0, figure.bbox.height / points)
    return "".join(_element(note, note.box(points).transformed(flip)) for note in figure.findobj(Note))


def _element(note: Note, box: Bbox) -> str:
    size = f'x="{box.xmin:.1f}" y="{box.ymin:.1f}" width="{box.width:.1f}" height="{abs(box.height):.1f}"'
    look = f'class="says" rx="{0 if note.cell else _REACH:g}" fill="none" pointer-events="all"'
    return f"<rect {look} {size}><title>{escape(note.text, quote=False)}</title></rect>\n"
