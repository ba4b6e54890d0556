"""Names beside points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from dds.reports.figures.style import INK

_AROUND = [(side * 7, height) for height in (4, -11, 14, -21, 24, 34, 44) for side in (1, -1)]  # points
_LEADER = {"arrowstyle": "-", "linewidth": 0.4, "color": INK, "shrinkA": 0, "shrinkB": 4}


def label_points(figure: Figure, axes: Axes, names: Sequence[str], places: Any) -> None:
    """Write each name beside its point, where it hides no other name and no point.

    Args:
        figure: Of the axes, with everything that it is going to hold.
        axes: Where the points are.
        names: One for each point.
        places: `[N, 2]` x and y of each point, in the units of the axes.
    """
    figure.draw_without_rendering()  # only then is it known where things are
    centres = axes.transData.transform(places)
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in centres]
    for name, place in zip(names, places, strict=True):
        tried = [axes.annotate(name, place, **_beside(offset)) for offset in _AROUND]
        boxes = [note.get_window_extent() for note in tried]
        hidden = [sum(box.overlaps(other) for other in taken) + _leaves(axes, box) for box in boxes]
        chosen = int(np.argmin(hidden))
        taken.append(boxes[chosen])
        for note in tried:
            note.remove()
        axes.annotate(name, place, **_beside(_AROUND[chosen]), arrowprops=_LEADER)


def _leaves(axes: Axes, box: Bbox) -> bool:
    """Whether a box is not wholly inside the axes, where it would hide the ticks."""
    return not (axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1))


def _beside(offset: tuple[int, int]) -> dict[str, Any]:
    side = "left" if offset[0] > 0 else "right"
    return {"xytext": offset, "textcoords": "offset points", "ha": side, "fontsize": 8}
