from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from copy import copy
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, Literal, Self, cast, get_args

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, default_collate

from dds.batch import IGNORED, Batch
from dds.data.identity import digest_of
from dds.data.naming import image_names
from dds.data.sizes import Framed, Size, SizedBatches
from dds.data.steady import Steady
from dds.data.targets import documented
from dds.errors import InputError
from dds.numbers import whole
from dds.telling import told

Split = Literal["train", "val", "test"]
Sizes = Literal["group", "pad"]
Sample = dict[str, Any]

_LOOKING = "Looking at the images' sizes"


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


class SharedBatches:
    """This process's batches; not a `DataLoader`, whose images Lightning would share out once more.

    Args:
        loader: What loads them.
    """

    def __init__(self, loader: DataLoader[Batch]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    @property
    def expected(self) -> float:
        """How many batches there will be, as far as can be told; fewer than `len` if other jobs take some."""
        return cast(SizedBatches, self._loader.batch_sampler).expected

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._loader)


class BaseDataModule(LightningDataModule, ABC):
    """Batches of a data set, each image with its index; a subclass says how a split is read.

    Images of different sizes come in batches of one size after another. The test batches of a size all have
    as many images; the last is filled up with its last image (`Batch.real`). So the networks round alike,
    however many processes share the images out and wherever a run was interrupted.

    Args:
        batch_size: The most images in a batch, on each process.
        limit: Use only so many test images, a random subset that the seed fixes; default all.
        subset_seed: Seed of that subset.
        num_workers: Processes that read images, on each process.
        sizes: Of test images of different sizes: `group` has batches of one size each; `pad` adds a grey
            border at the right and the bottom, up to the largest height and width of the run. The border is
            ignored in masks, has no known depth and shows no object, but networks and attacks see it.
    """

    ignored: int = IGNORED
    """The label of ignored pixels of masks."""

    def __init__(
        self,
        batch_size: int = 32,
        limit: int | None = None,
        subset_seed: int = 0,
        num_workers: int = 0,
        sizes: Sizes = "group",
    ) -> None:
        super().__init__()
        self.batch_size = whole("data.batch_size", batch_size)
        self.limit = None if limit is None else whole("data.limit", limit)
        self.subset_seed = whole("data.subset_seed", subset_seed, least=None)
        self.num_workers = whole("data.num_workers", num_workers, least=0)
        if sizes not in get_args(Sizes):
            raise InputError(f"data.sizes={sizes}; expected group or pad.")
        self.sizes = sizes
        self.finished: set[int] = set()
        """Indices of test images that need not be measured again."""
        self.take: Callable[[int], bool] | None = None
        """Asked of test images, by index, just before their batch is made: are they in it? None: all are."""

    mask_names: Sequence[str] = ()
    """Names of the classes of masks, by their number; empty where they are not known."""

    @property
    def source(self) -> type:
        """The class that tables and reports name as the data."""
        return type(self)

    @abstractmethod
    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; each sample holds the keys of `Batch` but `index`.

        Where it has a method `size_of(index)`, which returns height and width of an image, test images are
        not read once more before the start to find out which can share a batch. Where images are files, it
        should say which, by `image_paths`: they are named after them.

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
        for found in ("_wanted", "_sizes"):
            fewer.__dict__.pop(found, None)
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

    def some_training_batches(self, images: int, batch_size: int) -> DataLoader[Batch]:
        """Return batches of training images: the same ones, in the same order, in every process of a run.

        Where a data set varies its training images at random, each is varied in one way.

        Args:
            images: How many, drawn at random; all, where there are fewer.
            batch_size: The most in a batch.

        Raises:
            InputError: If there are none, or they are the test images.
        """
        dataset, tested = self._open("train"), cast(Indexed, self._wanted.dataset).dataset
        if len(cast(Sized, dataset)) == len(cast(Sized, tested)) and digest_of(dataset) == digest_of(tested):
            raise InputError(f"{type(self).__name__} has no other images than those that are tested.")
        own = torch.Generator().manual_seed(self.subset_seed)
        order = torch.randperm(len(cast(Sized, dataset)), generator=own)[:images]
        some = Subset(Indexed(Steady(dataset)), order.tolist())
        return self._loader(some, batch_size=batch_size, persistent_workers=False, generator=own)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return validation batches."""
        return self._loader(Indexed(self._open("val")))

    def test_dataloader(self) -> SharedBatches:
        """Return test batches; several processes share the images out, none twice."""
        images = self.test_dataset()
        if self.sizes == "pad":
            heights, widths = zip(*self._sizes.values(), strict=True)
            frame = max(heights), max(widths)
            framed = Subset(Framed(images.dataset, frame, self.ignored), images.indices)
            return self._shared(framed, [frame] * len(images), {frame: len(self._sizes)}, self.take)
        sizes = [self._sizes[index] for index in images.indices]
        return self._shared(images, sizes, Counter(self._sizes.values()), self.take)

    @cached_property
    def _sizes(self) -> dict[int, Size]:
        """Height and width of each test image of the run, by its index."""
        wanted = self._wanted
        return dict(zip(wanted.indices, self._find_sizes(wanted), strict=True))

    @property
    def shown_sizes(self) -> set[Size]:
        """Heights and widths that test images are shown in; `(0, 0)` where they may be of any."""
        sizes = set(self._sizes.values())
        heights, widths = zip(*sizes, strict=True)
        return {(max(heights), max(widths))} if self.sizes == "pad" else sizes

    def database_dataloader(self) -> SharedBatches:
        """Return batches of the database, shared out likewise."""
        database = Indexed(self.database())
        everything = Subset(database, range(len(database)))
        sizes = self._find_sizes(everything)
        return self._shared(everything, sizes, Counter(sizes))

    def _find_sizes(self, images: Subset[Sample]) -> list[Size]:
        """Return height and width of each image: as its data set says, else by reading all of them."""
        if self.batch_size == 1 and self.sizes == "group":  # they may be anything
            return [(0, 0)] * len(images)
        size_of = getattr(cast(Indexed, images.dataset).dataset, "size_of", None)
        if size_of is not None:
            return [size_of(index) for index in told(images.indices, _LOOKING, kind="images")]
        batches = self._loader(images, collate_fn=_sizes_of)
        return [size for sizes in told(batches, _LOOKING, kind="batches") for size in cast(Any, sizes)]

    def _shared(
        self,
        images: Subset[Sample],
        sizes: Sequence[Size],
        counts: Mapping[Size, int],
        take: Callable[[int], bool] | None = None,
    ) -> SharedBatches:
        """Load this process's batches.

        Args:
            images: Those to be loaded.
            sizes: Of each of them.
            counts: How many images of each size the run has, whatever part of them is to be loaded; the
                batches of a size have so many images, which is the same for every part.
            take: Whether an image is to be loaded, by its index; None: all are.
        """
        filled = {size: min(self.batch_size, count) for size, count in counts.items()}
        collate = partial(_collate, filled=filled)
        of_place = take and (lambda place: take(images.indices[place]))
        batches = SizedBatches(sizes, self.batch_size, of_place)
        return SharedBatches(self._loader(images, batches=batches, collate_fn=collate))

    def _open(self, split: Split) -> Dataset[Sample]:
        dataset = self.load(split)
        if not len(cast(Sized, dataset)):
            raise InputError(f"{type(self).__name__} found no {split} images. Check its root and limit.")
        return dataset

    def _loader(
        self,
        dataset: Dataset[Sample],
        batches: Sampler[list[int]] | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> DataLoader[Batch]:
        of_each = batch_size or self.batch_size
        return _Loader(
            cast(Dataset[Batch], dataset),
            **({"batch_size": of_each} if batches is None else {"batch_sampler": batches}),
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),  # so that a GPU takes them while it works
            **{"collate_fn": _collate, "persistent_workers": self.num_workers > 0, **options},
        )


def _collate(samples: list[Sample], filled: Mapping[Size, int] = MappingProxyType({})) -> Batch:
    """Make a batch, with as many images as those of its size are to have."""
    sizes = set(_sizes_of(samples))
    if len(sizes) > 1:
        raise InputError(
            f"images of different sizes, such as {' and '.join(map(str, sorted(sizes)[:2]))}, cannot share a "
            "batch; expected one size. Have the data module resize them (data.size, or data.resize and "
            "data.crop)."
        )
    missing = filled.get(sizes.pop(), 0) - len(samples)
    everything = [*samples, *samples[-1:] * missing]
    batch = {key: _collated(key, [sample.get(key) for sample in everything]) for key in everything[0]}
    return cast(Batch, {**batch, "real": len(samples)})


def _sizes_of(samples: list[Sample]) -> list[Size]:
    return [tuple(sample["image"].shape[-2:]) for sample in samples]


def _collated(key: str, values: list[Any]) -> Any:
    try:
        return default_collate(values)
    except (TypeError, RuntimeError, KeyError) as error:
        said = sorted({str(tuple(one.shape) if isinstance(one, Tensor) else type(one)) for one in values})
        raise InputError(
            f"{key} of the samples cannot share a batch: {' and '.join(said[:2])}; expected tensors or "
            "numbers of one shape. Give all samples alike, or leave the key out if no task needs it."
        ) from error
