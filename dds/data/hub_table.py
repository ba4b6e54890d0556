"""The columns of a data set of `datasets`, as images and targets."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torchvision.ops import box_convert

from dds.data.boxed_images import BoxedImage
from dds.data.files import image_size
from dds.data.stored_file import Cells, StoredFile
from dds.data.yolo_classes import category_ids
from dds.errors import InputError

Classes = Mapping[int | str, int | None]
"""The class of each value that a column holds; a value of `ClassLabel` may be given by its name."""

BoxFormat = Literal["xywh", "xyxy"]

_CHUNK = 256
_SHOWN = 60  # characters of a feature
_BOXES = ("bbox", "boxes")
_CATEGORIES = ("category", "categories", "label", "labels")
_CROWDS = ("iscrowd", "is_crowd")


class HubTable:
    """A split of a data set of `datasets`.

    Args:
        dataset: A `datasets.Dataset`, in any format.
        folders: Where files may lie that a cell names, as of a folder of images; None: anywhere.
    """

    def __init__(self, dataset: Any, folders: tuple[Path, ...] | None = None) -> None:
        self.dataset, self.folders = dataset.with_format(None), folders

    def choose(self, setting: str, given: str | None, usual: Sequence[str]) -> str:
        """Return the column that a setting means.

        Args:
            setting: Its name.
            given: The column that it names; None: the first of the usual ones that is there.
            usual: Usual names.

        Raises:
            InputError: Naming the columns, if that one is not there.
        """
        wanted = usual if given is None else (given,)
        found = next((name for name in wanted if name in self.dataset.features), None)
        if found is None:
            raise InputError(
                f"there is no column {' or '.join(wanted)}, but {self._columns}. Set data.{setting} to one."
            )
        return found

    @property
    def _columns(self) -> str:
        return ", ".join(f"{name} ({_said(kind)})" for name, kind in self.dataset.features.items())

    def files(self, column: str) -> list[StoredFile]:
        """Return the images of a column.

        Raises:
            InputError: If it holds something else.
        """
        kind = self.dataset.features[column]
        self._check(type(kind).__name__ == "Image" or _depth(kind) >= 2, column, "images or arrays")
        table = self.dataset.select_columns([column]).with_format("arrow")
        chunks = (chunk[column].combine_chunks() for chunk in table.iter(_CHUNK))
        known = [one for chunk in chunks for one in _names_and_lengths(chunk)]
        cells = Cells(table, column, self.folders)
        return [
            StoredFile(f"{column} {row}{name}", length, row, cells)
            for row, (name, length) in enumerate(known)
        ]

    def labels(self, column: str, classes: Classes | None) -> Tensor:
        """Return a column of single classes, `[N]` int64.

        Raises:
            InputError: If it holds something else, or a value that stands for no class.
        """
        kind = self.dataset.features[column]
        self._check(_depth(kind) == 0, column, "a class for each image")
        values = list(self.dataset[column])
        numbers = _numbers(column, values, kind, classes)
        return torch.tensor([numbers[value] for value in values])

    def label_sets(self, column: str, classes: Classes | None) -> Tensor:
        """Return a column of lists of classes, `[N, C]` float32, 1 for each that is listed.

        A list of fixed length is taken to hold 1 or 0 for each class, or -1 where that is not known.

        Raises:
            InputError: As `labels` does.
        """
        kind = self.dataset.features[column]
        self._check(_depth(kind) == 1, column, "a list of classes for each image")
        unknown = [None] * max(0, getattr(kind, "length", 0))
        rows = [row or unknown for row in self.dataset[column]]
        if unknown:
            return torch.from_numpy(np.array(rows, dtype=np.float32))  # None is NaN, which is refused
        leaf = _leaf(kind)
        numbers = _numbers(column, [value for row in rows for value in row], leaf, classes)
        names = getattr(leaf, "names", None) if classes is None else None
        count = len(names) if names else 1 + max(numbers.values(), default=-1)
        sets = torch.zeros(len(rows), count)
        for row, values in enumerate(rows):
            sets[row, [numbers[value] for value in values]] = 1
        return sets

    def boxed(
        self, images: Sequence[StoredFile], column: str, form: BoxFormat, classes: Classes | None
    ) -> list[BoxedImage]:
        """Return images with the objects of a column: for each, lists `bbox` and `category`, as COCO's.

        Classes count from 1 in the order of `ClassLabel`, or are COCO's ids where its names are COCO's; plain
        numbers are what they are.

        Raises:
            InputError: If it holds something else, or a category that stands for no class.
        """
        kind = self.dataset.features[column]
        fields = kind if isinstance(kind, dict) else getattr(kind, "feature", None)
        names = fields if isinstance(fields, dict) else {}
        keys = [next((key for key in usual if key in names), "") for usual in (_BOXES, _CATEGORIES, _CROWDS)]
        self._check(all(keys[:2]), column, "objects, {bbox: …, category: …}")
        rows = [_lists(row, keys) for row in self.dataset[column]]
        leaf = _leaf(names[keys[1]])
        numbers = _numbers(column, [one for _, found, _ in rows for one in found], leaf, classes)
        if classes is None and hasattr(leaf, "names"):
            ids = category_ids(leaf.names).tolist()
            numbers = {value: ids[number] for value, number in numbers.items()}
        if any(number < 1 for number in numbers.values()):
            raise InputError(
                f"column {column} has objects of class 0, the detectors' background; expected classes from "
                "1. Set data.classes, e.g. {0: 1, 1: 2}."
            )
        return [_boxed_image(image, *row, numbers, form) for image, row in zip(images, rows, strict=True)]

    def _check(self, fits: bool, column: str, expected: str) -> None:
        if not fits:
            raise InputError(
                f"column {column} does not hold {expected}; there are {self._columns}. Set data.image, "
                "data.target and data.kind to the columns, and to what the task is scored by."
            )


def _said(kind: Any) -> str:
    said = type(kind).__name__ if type(kind).__name__ == "Image" else str(kind)
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"


def _depth(kind: Any) -> int:
    """Return how many lists are around the numbers or words of a feature; -1 if it holds something else."""
    name, inside = type(kind).__name__, getattr(kind, "feature", None)
    if name in ("Value", "ClassLabel"):
        return 0
    if name in ("Array2D", "Array3D"):
        return int(name[5])
    depth = -1 if inside is None else _depth(inside)
    return depth if depth < 0 else depth + 1


def _leaf(kind: Any) -> Any:
    inside = getattr(kind, "feature", None)
    return kind if inside is None else _leaf(inside)


def _names_and_lengths(cells: pa.Array) -> Iterator[tuple[str, int]]:
    """Say of each image what its file is called, and how many bytes it has."""
    if not pa.types.is_struct(cells.type):
        yield from [("", 0)] * len(cells)
        return
    paths = pc.struct_field(cells, "path").to_pylist()
    lengths = pc.binary_length(pc.struct_field(cells, "bytes")).to_pylist()
    for path, length in zip(paths, lengths, strict=True):
        yield f" ({Path(path).name})" if path else "", _size(path) if length is None else length


def _size(path: str | None) -> int:
    try:
        return Path(path).stat().st_size if path else 0
    except OSError:  # it is missed when it is read
        return -1


def _numbers(column: str, values: Sequence[Any], kind: Any, classes: Classes | None) -> dict[Any, int]:
    """Return the class of each value of a column."""
    names = getattr(kind, "names", None)
    if classes is None:
        every = range(len(names)) if names else {*values}
        numbers = {value: int(value) for value in every if isinstance(value, int) and value >= 0}
    else:
        stored: dict[Any, Any] = {
            value: names.index(value) if names and value in names else value for value in classes
        }
        numbers = {stored[value]: number for value, number in classes.items() if number is not None}
    strange = list(dict.fromkeys(str(value) for value in values if value not in numbers))
    if strange:
        raise InputError(
            f"column {column} holds {', '.join(strange[:5])}, which stands for no class; expected "
            f"{', '.join(map(str, [*numbers][:5])) or 'numbers from 0 on'}. Set data.classes to the class of "
            "each value, e.g. {cat: 0, dog: 1}; labels of -1 are withheld: choose another split."
        )
    return numbers


def _lists(row: Any, keys: Sequence[str]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return boxes, categories and crowds of an image's objects, which may be a list or a table."""
    if isinstance(row, Mapping):
        boxes, categories, crowds = (row[key] or [] if key else [] for key in keys)
    else:
        boxes, categories, crowds = ([one[key] for one in row or []] if key else [] for key in keys)
    return boxes, categories, crowds or [0] * len(boxes)


def _boxed_image(
    image: StoredFile,
    boxes: list[Any],
    categories: list[Any],
    crowds: list[Any],
    numbers: Mapping[Any, int],
    form: BoxFormat,
) -> BoxedImage:
    if not len(boxes) == len(categories) == len(crowds) or any(len(box) != 4 for box in boxes):
        raise InputError(
            f"the objects of {image} are {len(boxes)} boxes and {len(categories)} categories; expected as "
            "many of each, and four numbers for a box."
        )
    edges = torch.from_numpy(np.asarray(boxes, dtype=np.float64).reshape(len(boxes), 4))
    return BoxedImage(
        image,
        image_size(image),
        box_convert(edges, form, "xyxy").float(),
        torch.tensor([numbers[value] for value in categories], dtype=torch.int64),
        torch.tensor([bool(crowd) for crowd in crowds], dtype=torch.bool),
    )
