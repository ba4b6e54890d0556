from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from dds.batch import Relevance
from dds.data.base import BaseDataModule, Sample, Split
from dds.data.image_list import ImageList
from dds.data.listing import inside, require_files
from dds.data.plain_pickle import read_plain_pickle
from dds.data.relevance import Relevances
from dds.errors import InputError

_GRADES = (Relevance.JUNK, Relevance.EASY, Relevance.HARD)
_REMEDY = (
    "Download the images of Oxford Buildings (oxbuild_images.tgz, robots.ox.ac.uk/~vgg/data/oxbuildings) or "
    "Paris (paris_1.tgz, paris_2.tgz) and gnd_roxford5k.pkl or gnd_rparis6k.pkl "
    "(github.com/filipradenovic/revisitop), and set data.root to the folder that holds the pickle and "
    "jpg/<name>.jpg, with no folders below jpg."
)


class RevisitedRetrieval(BaseDataModule):
    """Revisited Oxford or Paris (Radenovic et al., CVPR 2018): `gnd_<name>.pkl` and `jpg/<name>.jpg`.

    `test` and `val` are both the queries, cropped to their box before anything else, each with its
    `relevance`; there is nothing to train on. The pickle is read without running code from it.

    Args:
        root: Folder that holds the pickle and `jpg`.
        size: The most that the longer side may measure (larger images are shrunk, with their aspect ratio),
            or `[height, width]`, or null for images as they are.
        batch_size: Images in a batch, on each process.
        **options: The others of `BaseDataModule`.
    """

    def __init__(
        self,
        root: str = "data/roxford5k",
        size: int | tuple[int, int] | None = 1024,
        batch_size: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **options)
        self.root, self.size = Path(root).expanduser(), size

    def load(self, split: Split) -> Dataset[Sample]:
        """Open the queries; the order is the pickle's."""
        if split == "train":
            raise InputError(
                f"{self.root} has no training images; the revisited sets are for evaluation. Train on "
                "another data set, such as LabelledRetrieval."
            )
        content = self._content()
        queries = content["gnd"]
        places = [{grade: _places(query, grade) for grade in _GRADES} for query in queries]
        known = Relevances(places, len(content["imlist"]))
        boxes = [query["bbx"] for query in queries]
        return ImageList(self._paths(content["qimlist"]), self.size, known, boxes)

    def database(self) -> Dataset[Sample]:
        """Open the images that are searched, in the order that `relevance` counts them in."""
        return ImageList(self._paths(self._content()["imlist"]), self.size)

    def _content(self) -> Mapping[str, Any]:
        files = sorted(self.root.glob("gnd_*.pkl"))
        if len(files) != 1:
            raise InputError(f"{len(files)} files gnd_*.pkl in {self.root}; expected one. {_REMEDY}")
        content = read_plain_pickle(files[0])
        try:
            problem = _problem(content)
        except (TypeError, ValueError, OverflowError) as error:
            problem = f"is of another form ({error})"
        if problem:
            raise InputError(f"{files[0]} {problem}. {_REMEDY}")
        return content  # type: ignore[no-any-return]

    def _paths(self, names: Sequence[str]) -> list[Path]:
        paths = [inside(self.root / "jpg", f"{name}.jpg", f"the pickle in {self.root}") for name in names]
        require_files(paths, _REMEDY)
        return paths


def _places(query: Mapping[str, Any], grade: Relevance) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.asarray(query[grade.name.lower()], dtype=np.int64).ravel()


def _problem(content: Any) -> str:
    """Say what of a ground truth does not fit together; nothing if all does."""
    if not isinstance(content, dict) or not {"imlist", "qimlist", "gnd"} <= set(content):
        return "does not hold imlist, qimlist and gnd"
    if len(content["gnd"]) != len(content["qimlist"]):
        return f"has {len(content['qimlist'])} queries but ground truth for {len(content['gnd'])}"
    for name, query in zip(content["qimlist"], content["gnd"], strict=True):
        problem = _query_problem(query, len(content["imlist"]))
        if problem:
            return f"{problem} for the query {name}"
    return ""


def _query_problem(query: Mapping[str, Any], images: int) -> str:
    if not {"bbx", "easy", "hard", "junk"} <= set(query) or not _is_box(query["bbx"]):
        return "lacks a bbx of four numbers, easy, hard or junk"
    places = np.concatenate([_places(query, grade) for grade in _GRADES])
    outside = places[(places < 0) | (places >= images)]
    if len(outside):
        return f"names image {outside[0]}, of {images} counted from 0,"
    return "gives an image two grades" if len(np.unique(places)) < len(places) else ""


def _is_box(value: Any) -> bool:
    edges = np.asarray(value)
    return edges.shape == (4,) and edges.dtype.kind in "iuf" and bool(np.isfinite(edges).all())
