from collections.abc import Sized
from typing import Any, cast

import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from dds.data.base import BaseDataModule, Sample, Split
from dds.errors import InputError


class GivenData(BaseDataModule):
    """The test images of a data set, or of a loader, that somebody has at hand.

    Args:
        images: A data set of samples, each a mapping with the keys of `dds.batch.Batch` but `index`, or a
            pair `(image, target)`, the image `[3, H, W]` float in [0, 1], not normalised. Or a `DataLoader`
            of such a data set, whose batch size and number of workers are used; its order does not matter.
        target: Key of the second of a pair, such as `label`.
        batch_size: Images in a batch; default: the loader's, else 32.

    Raises:
        InputError: If a loader has no data set that can be read in order.
    """

    def __init__(
        self, images: Dataset[Any] | DataLoader[Any], target: str, batch_size: int | None = None
    ) -> None:
        loader = images if isinstance(images, DataLoader) else None
        dataset: Any = images if loader is None else _data_of(loader)
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise InputError(
                f"{type(dataset).__name__} has no length; expected a data set whose images are numbered, as "
                "random numbers and results belong to them."
            )
        super().__init__(batch_size or (loader and loader.batch_size) or 32)
        self.num_workers = loader.num_workers if loader else 0
        self._images, self.target = dataset, target

    @property
    def source(self) -> type:
        """The class of the data set."""
        return type(self._images)

    def load(self, split: Split) -> Dataset[Sample]:
        """Return the images; there is no other split than `test`."""
        return _Samples(self._images, self.target)


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
        sample = self.images[index]
        if isinstance(sample, dict):
            return sample
        if not isinstance(sample, tuple | list) or len(sample) != 2:
            raise InputError(
                f"sample {index} is a {type(sample).__name__}; expected a mapping with the keys of "
                f"dds.batch.Batch, or a pair (image, {self.target})."
            )
        image, target = sample
        return {"image": _tensor(image, index), self.target: torch.as_tensor(target)}


def _tensor(image: Any, index: int) -> torch.Tensor:
    if not isinstance(image, torch.Tensor):
        raise InputError(
            f"the image of sample {index} is a {type(image).__name__}; expected a float tensor [3, H, W] in "
            "[0, 1], such as torchvision.transforms.ToTensor() gives, without Normalize: that belongs to the "
            "task (mean, std)."
        )
    return image
