from collections.abc import Sized
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dds.batch import Relevance
from dds.data.base import Sample, Split
from dds.data.given import GivenData, as_mapping, data_of
from dds.errors import InputError

_NAMES = ("label", "identity")
"""Keys of what a sample shows."""


class GivenRetrieval(GivenData):
    """Queries, and the images that they search, that somebody has at hand.

    Args:
        queries: As `images` of `GivenData`: samples `{"image": …, "relevance": …}` or `(image, relevance)`,
            where the relevance is a row with a grade of `dds.batch.Relevance`, or true or false, for each
            image of the gallery; or samples with a `label`, which match the images of the same label.
        gallery: Likewise; images alone, or with a `label`, of any type. Labels are read before the start.
        batch_size: As in `GivenData`.
    """

    def __init__(
        self,
        queries: Dataset[Any] | DataLoader[Any],
        gallery: Dataset[Any] | DataLoader[Any],
        batch_size: int | None = None,
    ) -> None:
        super().__init__(queries, "relevance", batch_size)
        self._gallery = _Gallery(data_of(gallery))

    def load(self, split: Split) -> Dataset[Sample]:
        """Return the queries; there is no other split than `test`."""
        return _Queries(self._images, self._gallery)

    def database(self) -> Dataset[Sample]:
        """Return the gallery."""
        return self._gallery


class _Gallery(Dataset[Sample]):
    def __init__(self, images: Any) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(cast(Sized, self.images))

    def __getitem__(self, index: int) -> Sample:
        return {"image": self._sample(index).get("image")}

    def shows(self) -> list[Any]:
        """Return what each image shows."""
        return [_shown(self._sample(index), f"image {index} of the gallery") for index in range(len(self))]

    def _sample(self, index: int) -> Sample:
        sample = self.images[index]
        return (
            {"image": sample}
            if isinstance(sample, Tensor | Image.Image)
            else as_mapping(sample, index, "label")
        )


class _Queries(Dataset[Sample]):
    def __init__(self, images: Any, gallery: _Gallery) -> None:
        self.images, self.size = images, len(gallery)
        graded = len(self) > 0 and "relevance" in self._sample(0)
        self.gallery_shows = None if graded else gallery.shows()

    def __len__(self) -> int:
        return len(cast(Sized, self.images))

    def __getitem__(self, index: int) -> Sample:
        sample = self._sample(index)
        if self.gallery_shows is None:
            relevance = _grades(sample.get("relevance"), index)
        else:
            shown = _shown(sample, f"query {index}")
            relevance = torch.tensor([other == shown for other in self.gallery_shows])
        return {"image": sample.get("image"), "relevance": relevance}

    def _sample(self, index: int) -> Sample:
        """Return a query with what is known of it, under its name."""
        sample = as_mapping(self.images[index], index, "known")
        if "known" in sample:
            known = sample.pop("known")
            sample["label" if _is_plain(_plain(known)) else "relevance"] = known
        return sample


def _shown(sample: Sample, what: str) -> Any:
    """Return the label of a sample as a plain value."""
    label = _plain(next((sample[name] for name in _NAMES if name in sample), None))
    if not _is_plain(label):
        raise InputError(
            f"{what} holds {', '.join(sample)}, and no label; expected queries with a relevance for each "
            "image of the gallery, or a label for every image of both."
        )
    return label


def _plain(value: Any) -> Any:
    """Return an array of one value as that value."""
    single = isinstance(value, Tensor) and value.numel() == 1
    single |= isinstance(value, np.ndarray | np.generic) and value.size == 1
    return value.item() if single else value


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float | str)


def _grades(relevance: Any, index: int) -> Tensor:
    try:
        row = torch.as_tensor(relevance)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"the relevance of query {index} is no row of grades: {error}.") from error
    if row.dtype != torch.bool and row.numel() and row.max() == Relevance.JUNK:
        raise InputError(
            f"the relevance of query {index} is of 0 and 1 only, and 1 is the grade of junk "
            "(dds.batch.Relevance); expected some 2 (easy) or 3 (hard), or true and false."
        )
    return row
