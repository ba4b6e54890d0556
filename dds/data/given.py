from collections.abc import Mapping, Sized
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.boxed_images import fill_places
from dds.errors import InputError


class GivenData(BaseDataModule):
    """The test images of a data set, or of a loader, that somebody has at hand.

    Args:
        images: A data set of samples, each a mapping with the keys of `dds.batch.Batch` but `index`, or a
            pair `(image, target)` or `(image, mapping)`, the image `[3, H, W]` float in [0, 1], not
            normalised, or one of Pillow's; for detection the mapping may be torchvision's (`boxes`, `labels`,
            `iscrowd`), with any number of boxes. Or a `DataLoader` of such a data set, whose batch size and
            number of workers are used; its order does not matter. Images are read once before the start, to
            find out which are of one size, unless the data set says so by `size_of(index)`.
        target: Key of the second of a pair, such as `label`.
        batch_size: Images in a batch; default: the loader's, else 32.

    Raises:
        InputError: If a loader has no data set that can be read in order.
    """

    def __init__(
        self, images: Dataset[Any] | DataLoader[Any], target: str, batch_size: int | None = None
    ) -> None:
        loader = images if isinstance(images, DataLoader) else None
        dataset = data_of(images)
        super().__init__(batch_size or (loader and loader.batch_size) or 32)
        self.num_workers = loader.num_workers if loader else 0
        self._images, self.target = dataset, target

    @property
    def source(self) -> type:
        """The class of the data set."""
        return type(self._images)

    def load(self, split: Split) -> Dataset[Sample]:
        """Return the images; there is no other split than `test`."""
        samples = _Samples(self._images, self.target)
        return _BoxedSamples(samples) if self.target == "boxes" else samples


def data_of(images: Dataset[Any] | DataLoader[Any]) -> Any:
    """Return a data set, or a loader's, whose images are numbered.

    Raises:
        InputError: If there is none.
    """
    dataset = _data_of(images) if isinstance(images, DataLoader) else images
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise InputError(
            f"{type(dataset).__name__} has no length; expected a data set whose images are numbered, as "
            "random numbers and results belong to them. Load it whole, without streaming."
        )
    return dataset


def _data_of(loader: DataLoader[Any]) -> Dataset[Any]:
    """Return a loader's data set; refuse what would silently be left out."""
    plain = isinstance(loader.sampler, SequentialSampler | RandomSampler)
    if loader.batch_size is None or not plain or loader.collate_fn is not default_collate:
        raise InputError(
            "the DataLoader has a sampler, a batch sampler or a collate_fn of its own, which cannot be kept: "
            "images are loaded in order, each once. Give a data set instead (a Subset for some of it) of "
            "samples {'image': …, 'label': …} or (image, label)."
        )
    return loader.dataset


class _Samples(Dataset[Sample]):
    """Samples as mappings."""

    def __init__(self, images: Dataset[Any], target: str) -> None:
        self.images, self.target = images, target

    def __len__(self) -> int:
        return len(cast(Sized, self.images))

    def __getitem__(self, index: int) -> Sample:
        return as_mapping(self.images[index], index, self.target)

    @property
    def size_of(self) -> Any:
        """What tells height and width of an image, if the data set has such a method."""
        return getattr(self.images, "size_of", None)


def as_mapping(sample: Any, index: int, target: str) -> Sample:
    """Return a sample as a mapping.

    Args:
        sample: A mapping, or a pair of an image and its target, or of an image and a mapping.
        index: Its place in the data set, for messages.
        target: What the target is called.

    Raises:
        InputError: If it is neither.
    """
    if isinstance(sample, Mapping):
        return dict(sample)
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        raise InputError(
            f"sample {index} is a {type(sample).__name__}; expected a mapping with the keys of "
            f"dds.batch.Batch, or a pair (image, {target})."
        )
    image, known = sample
    return {"image": image, **(known if isinstance(known, Mapping) else {target: known})}


class _BoxedSamples(Dataset[Sample]):
    """Samples with boxes, as many as the richest image has; all are read once to find it."""

    def __init__(self, samples: _Samples) -> None:
        self.samples = samples
        self.places = max([1, *(len(_boxes(samples[index], index)) for index in range(len(samples)))])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        boxes = _boxes(sample, index)
        classes = _numbers(sample, "classes", "labels", index)
        none = {"crowd": torch.zeros(len(boxes))}
        crowd = _numbers(none | sample, "iscrowd", "crowd", index)
        if not len(boxes) == len(classes) == len(crowd):
            raise InputError(
                f"sample {index} has {len(boxes)} boxes, {len(classes)} classes and {len(crowd)} marks of "
                "crowds; expected as many of each."
            )
        filled = fill_places(boxes, classes.long(), crowd.bool(), self.places)
        return {"image": sample.get("image"), **filled}


def _boxes(sample: Sample, index: int) -> Tensor:
    """Return the boxes of a sample, `[n, 4]`."""
    boxes = _numbers(sample, "boxes", "boxes", index).float()
    if boxes.numel() and boxes.shape[1:] != (4,):
        raise InputError(
            f"boxes of sample {index} are {tuple(boxes.shape)}; expected [n, 4], x1, y1, x2, y2."
        )
    return boxes.reshape(-1, 4)


def _numbers(sample: Sample, key: str, other: str, index: int) -> Tensor:
    """Return what a sample has under one of two keys."""
    try:
        return torch.as_tensor(sample[key] if key in sample else sample[other])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"sample {index} holds {', '.join(sample)}; expected image, boxes [n, 4] and classes [n] (or "
            f"labels, as torchvision's detectors take them); {key}: {error!r}."
        ) from error
