from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Sized
from copy import copy
from functools import cached_property, partial
from typing import Any, Literal, Self, cast

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, default_collate

from dds.batch import Batch
from dds.data.identity import digest_of
from dds.data.naming import image_names
from dds.data.targets import documented
from dds.errors import InputError
from dds.numbers import whole

Split = Literal["train", "val", "test"]
Sample = dict[str, Any]


class Indexed(Dataset[Sample]):
    """Adds to each sample its place in the data set, and brings its targets to their documented types."""

    def __init__(self, dataset: Dataset[Sample]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        """Read a batch, at once where the data set can."""
        read = getattr(self.dataset, "__getitems__", lambda them: [self.dataset[index] for index in them])
        samples = zip(indices, read(indices), strict=True)
        return [{**documented(sample, index), "index": index} for index, sample in samples]


class _Loader(DataLoader[Batch]):
    """Raises what users can mend as it was raised in a worker process, whose traceback is no help."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        try:
            yield from super().__iter__()
        except InputError as error:
            raise InputError(str(error).rpartition(f"{InputError.__name__}: ")[2].strip()) from None


class BaseDataModule(LightningDataModule, ABC):
    """Batches of a data set, each image with its index; a subclass says how a split is read.

    Test batches are all of one size; the last is filled up with its last image (`Batch.real`). So the
    networks round alike, however many processes share the images out and wherever a run was interrupted.

    Args:
        batch_size: Images in a batch, on each process.
        limit: Use only so many test images, a random subset that the seed fixes; default all.
        subset_seed: Seed of that subset.
        num_workers: Processes that read images, on each process.
    """

    def __init__(
        self, batch_size: int = 32, limit: int | None = None, subset_seed: int = 0, num_workers: int = 0
    ) -> None:
        super().__init__()
        self.batch_size = whole("data.batch_size", batch_size)
        self.limit = None if limit is None else whole("data.limit", limit)
        self.subset_seed = whole("data.subset_seed", subset_seed, least=None)
        self.num_workers = whole("data.num_workers", num_workers, least=0)
        self.finished: set[int] = set()
        """Indices of test images that need not be measured again."""

    mask_names: Sequence[str] = ()
    """Names of the classes of masks, by their number; empty where they are not known."""

    @property
    def source(self) -> type:
        """The class that tables and reports name as the data."""
        return type(self)

    @abstractmethod
    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; each sample holds the keys of `Batch` but `index`.

        Where images are files, the data set should say which, by `image_paths`: they are named after them.

        Raises:
            InputError: If the data is not where it should be; the message says what to download.
        """

    def database(self) -> Dataset[Sample]:
        """Open the images that retrieval searches; each sample holds an `image`.

        Raises:
            InputError: If this data set has no such thing.
        """
        raise InputError(
            f"{type(self).__name__} has no database to search; image retrieval needs a data module with "
            "queries and a database, such as RevisitedRetrieval or SceneRetrieval."
        )

    def identity(self) -> str:
        """Return a short text that changes when a run would meet other test images; see `digest_of`."""
        opened = [cast(Indexed, self._wanted.dataset).dataset]
        searched = type(self).database is not BaseDataModule.database
        return digest_of(*opened, *([self.database()] if searched else []))

    def image_names(self) -> list[str]:
        """Return what each image of the test split is called, by its place in it; see `naming`."""
        return image_names(cast(Indexed, self._wanted.dataset).dataset)

    def at_most(self, images: int) -> Self:
        """Return the same data with at most so many test images."""
        fewer = copy(self)
        fewer.__dict__.pop("_wanted", None)
        fewer.limit = images if self.limit is None else min(images, self.limit)
        return fewer

    def test_dataset(self) -> Subset[Sample]:
        """Return the test images that this run has yet to measure, each with its index in the whole split."""
        wanted = self._wanted
        return Subset(wanted.dataset, [index for index in wanted.indices if index not in self.finished])

    @cached_property
    def _wanted(self) -> Subset[Sample]:
        """All test images of the run; opened once."""
        dataset = Indexed(self._open("test"))
        order = torch.arange(len(dataset))
        if self.limit is not None and self.limit < len(dataset):
            generator = torch.Generator().manual_seed(self.subset_seed)
            order = torch.randperm(len(dataset), generator=generator)[: self.limit].sort().values
        return Subset(dataset, order.tolist())

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled training batches of equal size."""
        return self._loader(Indexed(self._open("train")), shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return validation batches."""
        return self._loader(Indexed(self._open("val")))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return test batches; several processes share the images out, none twice."""
        return self._shared_loader(self.test_dataset(), len(self._wanted))

    def database_dataloader(self) -> DataLoader[Batch]:
        """Return batches of the database, shared out likewise."""
        database = Indexed(self.database())
        return self._shared_loader(database, len(database))

    def _shared_loader(self, dataset: Dataset[Sample], images: int) -> DataLoader[Batch]:
        """Load batches of one size, which is the same for every part of so many images."""
        sampler, size = None, min(self.batch_size, images)
        if torch.distributed.is_initialized():
            sampler = UnrepeatedDistributedSampler(cast(Sized, dataset), shuffle=False)
        return self._loader(dataset, sampler=sampler, collate_fn=partial(_collate, size=size))

    def _open(self, split: Split) -> Dataset[Sample]:
        dataset = self.load(split)
        if not len(cast(Sized, dataset)):
            raise InputError(f"{type(self).__name__} found no {split} images. Check its root and limit.")
        return dataset

    def _loader(
        self,
        dataset: Dataset[Sample],
        sampler: Sampler[int] | None = None,
        **options: Any,
    ) -> DataLoader[Batch]:
        return _Loader(
            cast(Dataset[Batch], dataset),
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            **{"collate_fn": _collate, **options},
        )


def _collate(samples: list[Sample], size: int = 0) -> Batch:
    """Make a batch of at least `size` images."""
    sizes = {tuple(sample["image"].shape[1:]) for sample in samples}
    if len(sizes) > 1:
        raise InputError(
            f"images of different sizes, such as {' and '.join(map(str, sorted(sizes)[:2]))}, cannot share a "
            "batch; expected one size. Have the data module resize them (data.size, or data.resize and "
            "data.crop), or set data.batch_size=1."
        )
    filled = [*samples, *samples[-1:] * (size - len(samples))]
    batch = {key: _collated(key, [sample.get(key) for sample in filled]) for key in filled[0]}
    return cast(Batch, {**batch, "real": len(samples)})


def _collated(key: str, values: list[Any]) -> Any:
    try:
        return default_collate(values)
    except (TypeError, RuntimeError, KeyError) as error:
        said = sorted({str(tuple(one.shape) if isinstance(one, Tensor) else type(one)) for one in values})
        raise InputError(
            f"{key} of the samples cannot share a batch: {' and '.join(said[:2])}; expected tensors or "
            "numbers of one shape. Give all samples alike, or leave the key out if no task needs it."
        ) from error
