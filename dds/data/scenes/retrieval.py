from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dds.batch import Batch, Relevance
from dds.data.base import Indexed, Sample, Split
from dds.data.scenes.scenes import RenderedScenes, Scenes
from dds.errors import InputError

_ENOUGH = 2  # solids that tell one arrangement from another


class SceneRetrieval(Scenes):
    """Retrieval on the embedded scenes: find other views of the same arrangement of solids.

    The first view of each test arrangement is a query, the others are the database. A view whose main solid
    is of the same class as the query's is an easy positive, any other is a hard one, and one that shows fewer
    than two solids is junk.

    Args:
        views: Images of each arrangement, from other sides and in other light; all in one training batch.
        test_images: Number of test images, queries and database together.
        **options: Those of `Scenes` and `BaseDataModule`.
    """

    def __init__(self, views: int = 4, test_images: int = 1_000, **options: Any) -> None:
        super().__init__(views=views, test_images=test_images, **options)
        if views < 2:
            raise InputError(f"data.views={views}; retrieval needs at least 2 of each arrangement.")
        if test_images < views:
            raise InputError(
                f"data.test_images={test_images}; expected at least {views}, a query and its other views."
            )
        self._rendered: dict[str, Tensor] = {}

    def load(self, split: Split) -> Dataset[Sample]:
        """Return a split; of the test images only the queries."""
        if split != "test":
            return super().load(split)
        images = self._test_images()
        queries, database = images["view"] == 0, images["view"] > 0
        same = images["arrangement"][queries, None] == images["arrangement"][database]  # (Q, D)
        easy = images["label"][queries, None] == images["label"][database]
        positive = torch.where(easy, Relevance.EASY, Relevance.HARD)
        solids = (images["classes"][database] >= 0).sum(1)
        positive = torch.where(solids < _ENOUGH, Relevance.JUNK, positive)
        relevance = torch.where(same, positive, Relevance.NEGATIVE).to(torch.int8)
        return RenderedScenes({**_some(images, queries), "relevance": relevance})

    def database(self) -> Dataset[Sample]:
        """Return the test images that are no queries."""
        images = self._test_images()
        return RenderedScenes(_some(images, images["view"] > 0))

    def _test_images(self) -> dict[str, Tensor]:
        if not self._rendered:
            self._rendered = {**self.render_all("test"), "view": self._numbers("test")[1]}
        return self._rendered

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return training batches that hold every view of each of their arrangements."""
        if self.batch_size % self.views:
            raise InputError(
                f"data.batch_size={self.batch_size} cannot hold whole arrangements of {self.views} views; "
                "expected a multiple."
            )
        dataset = Indexed(self._open("train"))
        return self._loader(dataset, sampler=_Together(len(dataset), self.views), drop_last=True)


def _some(images: dict[str, Tensor], which: Tensor) -> dict[str, Tensor]:
    return {key: value[which] for key, value in images.items() if key != "view"}


class _Together(Sampler[int]):
    """Shuffles groups of consecutive images, whose members stay together."""

    def __init__(self, images: int, group: int) -> None:
        self.images, self.group = images, group

    def __len__(self) -> int:
        return self.images - self.images % self.group

    def __iter__(self) -> Iterator[int]:
        groups = torch.arange(len(self)).reshape(-1, self.group)
        return iter(groups[torch.randperm(len(groups))].flatten().tolist())
