from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from dds.batch import Relevance
from dds.data.base import BaseDataModule, Sample, Split
from dds.data.image_list import ImageList
from dds.data.labels_csv import open_table
from dds.data.listing import inside, refuse_duplicates, require_files
from dds.data.relevance import Relevances
from dds.errors import InputError

Row = dict[str, str]

_COLUMNS = ("file", "class", "role")
_ROLES = ("gallery", "query")
_REMEDY = (
    "Write <data.root>/labels.csv with the columns file (below data.root), class (the same for images of the "
    "same thing) and role (gallery or query)."
)


class LabelledRetrieval(BaseDataModule):
    """Retrieval among images with classes: a folder with `labels.csv`, columns `file,class,role`.

    `test` and `val` are both the queries; an image of the gallery is an easy positive of a query of its class
    and a negative of any other. `train` is the gallery; `identity` counts the classes in alphabetical order.

    Args:
        root: Folder that holds `labels.csv`.
        size: As for `RevisitedRetrieval`.
        **options: Those of `BaseDataModule`.
    """

    def __init__(self, root: str, size: int | tuple[int, int] | None = (224, 224), **options: Any) -> None:
        super().__init__(**options)
        self.root, self.size = Path(root).expanduser(), size

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly mirrored."""
        rows = self._rows()
        gallery, queries = (_identities(rows, role) for role in _ROLES)
        if split == "train":
            train = [{"identity": identity} for identity in gallery]
            return ImageList(self._paths(rows, "gallery"), self.size, train, augment=True)
        shown = np.asarray(gallery)
        members = {identity: {Relevance.EASY: np.flatnonzero(shown == identity)} for identity in {*queries}}
        known = Relevances(
            [members[identity] for identity in queries],
            len(gallery),
            [{"identity": identity} for identity in queries],
        )
        return ImageList(self._paths(rows, "query"), self.size, known)

    def database(self) -> Dataset[Sample]:
        """Open the gallery, in the order that `relevance` counts it in."""
        return ImageList(self._paths(self._rows(), "gallery"), self.size)

    def _paths(self, rows: list[Row], role: str) -> list[Path]:
        return [self.root / row["file"] for row in rows if row["role"] == role]

    def _rows(self) -> list[Row]:
        path = self.root / "labels.csv"
        if not path.is_file():
            raise InputError(f"{path} does not exist. {_REMEDY}")
        with open_table(path) as reader:
            rows = list(reader)
        problem = _problem(rows)
        if problem:
            raise InputError(f"{path} {problem}. {_REMEDY}")
        refuse_duplicates([row["file"] for row in rows], path)
        require_files([inside(self.root, row["file"], path) for row in rows], _REMEDY)
        return rows


def _identities(rows: list[Row], role: str) -> list[int]:
    number = {name: number for number, name in enumerate(sorted({row["class"] for row in rows}))}
    return [number[row["class"]] for row in rows if row["role"] == role]


def _problem(rows: list[Row]) -> str:
    """Say what of the rows does not fit together; nothing if all does."""
    if not rows or not all(row.get(column) for row in rows for column in _COLUMNS):
        return "has no rows, or some without file, class or role"
    wrong = [row["role"] for row in rows if row["role"] not in _ROLES]
    if wrong:
        return f"has the role {wrong[0]!r}"
    members = Counter(row["class"] for row in rows)
    alone = [row for row in rows if row["role"] == "query" and members[row["class"]] == 1]
    if alone:
        return f"has {len(alone)} queries whose class no other image has, e.g. {alone[0]['class']!r}"
    gallery, queries = ({row["class"] for row in rows if row["role"] == role} for role in _ROLES)
    return "" if gallery & queries else "has no class in both the gallery and the queries"
