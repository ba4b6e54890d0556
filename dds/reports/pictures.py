"""Pictures of a report, each inside the page."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dds.results.layout import Entry, Layout, Line, is_attacked

SIDE = 256
"""Longest side of a picture in pixels; larger ones are made smaller."""

_QUALITY = 80
_GREY = 128

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A cell of a panel: an image, or a caption where the task answers in words.

    Attributes:
        alt: What is to be seen, or the caption.
        uri: The image; None for a caption.
        pixels: Its longest side.
    """

    alt: str
    uri: str | None = None
    pixels: int = 0


@dataclass(frozen=True)
class Row:
    """One stage of an attacked image, e.g. its perturbation, for each defence.

    Attributes:
        stage: What is to be seen.
        cells: One for each defence, None where it was not run; a single one if it is the same for all.
    """

    stage: str
    cells: list[Picture | None]


@dataclass(frozen=True)
class Panel:
    """One image under an attack and a view: a row for each stage."""

    line: Line
    rows: list[Row]


class Pictures:
    """Pictures of the example images of a run.

    Args:
        examples: Arrays of `examples.npz`.
        layout: The conditions to be shown.

    Attributes:
        factor: How many times a perturbation is magnified: as often as the largest leaves room for.
        keys: The conditions of which there are pictures.
        indices: The images' places in their data set, where that was recorded.
    """

    def __init__(self, examples: Mapping[str, Any], layout: Layout) -> None:
        self._examples, self._layout = examples, layout
        self.keys = {name.split(":", 1)[1] for name in examples if ":" in name}
        shown = [entry for line in layout.lines for entry in self._row(line) if entry]
        attacked = [entry["key"] for entry in shown if is_attacked(entry)]
        largest = max((int(np.abs(self._moved(key)).max()) for key in attacked), default=1)
        self.factor = max(1, (_GREY - 1) // max(1, largest))
        self.indices: list[int] = examples["index"].tolist() if "index" in examples else []

    def __len__(self) -> int:
        return len(self._examples["original"])

    def _row(self, line: Line) -> list[Entry | None]:
        return [entry if entry and entry["key"] in self.keys else None for entry in self._layout.row(line)]

    def _moved(self, key: str) -> NDArray[np.int16]:
        attacked, original = self._examples[f"attacked:{key}"], self._examples["original"]
        difference: NDArray[np.int16] = attacked.astype(np.int16) - original
        return difference

    def panels(self, image: int, lines: Sequence[Line]) -> list[Panel]:
        """Show one image under some attacks and views.

        Args:
            image: Which of the examples.
            lines: Attacks and views.
        """
        return [Panel(line, list(self._rows(image, self._row(line)))) for line in lines]

    def _rows(self, image: int, entries: list[Entry | None]) -> Iterator[Row]:
        attacked = any(entry and is_attacked(entry) for entry in entries)
        stages = {"attacked image" if attacked else "original": "attacked"}
        stages |= {f"perturbation × {self.factor}": "moved"} if attacked else {}
        stages |= {"what the task sees": "shown", "its answer": "decision"}
        for stage, what in stages.items():
            cells = [self.picture(image, entry["key"], what, stage) if entry else None for entry in entries]
            same = {cell and (cell.uri or cell.alt) for cell in cells}
            yield Row(stage, cells[:1] if what in ("attacked", "moved") and len(same) == 1 else cells)

    def picture(self, image: int, key: str, what: str, stage: str) -> Picture:
        """Return one picture.

        Args:
            image: Which of the examples.
            key: The condition.
            what: `attacked`, `moved` (by how much), `shown` or `decision`.
            stage: The same in words.
        """
        if what == "moved":
            moved = _GREY + self.factor * self._moved(key)[image]
            return _picture(np.clip(moved, 0, 255).astype(np.uint8), f"{stage}, {key}")
        value = self._examples[f"{what}:{key}"][image]
        if value.ndim < 3:
            return Picture(str(value))
        return _picture(value, f"{stage}, {key}", exact=what == "decision")


def _picture(pixels: Pixels, alt: str, exact: bool = False) -> Picture:
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.NEAREST if exact else Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "WEBP", lossless=exact, quality=_QUALITY)
    return Picture(alt, "data:image/webp;base64," + b64encode(file.getvalue()).decode(), max(image.size))


def size(panels: Sequence[Panel]) -> int:
    """Return how many characters the pictures of panels take."""
    cells = [cell for panel in panels for row in panel.rows for cell in row.cells]
    return sum(len(cell.uri or "") for cell in cells if cell)
