from dataclasses import asdict
from mmap import mmap
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.identity import digest_of
from dds.data.scenes.renderer import SEMANTIC, render
from dds.errors import InputError
from dds.telling import told

_FIRST = {"train": 0, "val": 1_000_000_000, "test": 2_000_000_000}  # arrangements of the splits never meet
_CHUNK = 256


class Scenes(BaseDataModule):
    """The embedded data set: solids on a plane, rendered from seeds, with exact truth for every task.

    Each image comes with all its targets: `label` (class of the main solid), `mask` (sky, ground and six
    solids), `depth` (metres, 0 in the sky), `boxes` and `classes` (5 slots; classes from 1 on, -1 where
    unused) and `identity` (the same for views of one arrangement).

    Args:
        size: Height and width in pixels.
        views: Images of each arrangement, from other sides and in other light; for retrieval.
        train_images: Number of training images.
        val_images: Number of validation images.
        test_images: Number of test images.
        **options: Those of `BaseDataModule`.
    """

    mask_names = SEMANTIC

    def __init__(
        self,
        size: int = 64,
        views: int = 1,
        train_images: int = 12_000,
        val_images: int = 256,
        test_images: int = 1_000,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if size < 16:
            raise InputError(f"data.size={size}; expected at least 16 pixels.")
        if views < 1:
            raise InputError(f"data.views={views}; expected at least 1.")
        self.size, self.views = size, views
        self.images = {"train": train_images, "val": val_images, "test": test_images}

    def load(self, split: Split) -> Dataset[Sample]:
        """Return a split, whose images are rendered when asked for; those of a training are kept then."""
        if split == "test":
            return _Lazy(*self._numbers(split), self.size)
        self._check(split)
        return _Kept(*self._numbers(split), self.size)

    def identity(self) -> str:
        """Return what the scenes are rendered from."""
        return digest_of(self._numbers("test"))

    def render_all(self, split: Split) -> dict[str, Tensor]:
        """Render every image of a split; see `scene_renderer.Rendering` for the keys."""
        self._check(split)
        arrangements, views = (torch.split(numbers, _CHUNK) for numbers in self._numbers(split))
        chunks = told(list(zip(arrangements, views, strict=True)), f"Rendering {split} images")
        rendered = [_render(*chunk, self.size) for chunk in chunks]
        return {key: torch.cat([part[key] for part in rendered]) for key in rendered[0]}

    def _check(self, split: Split) -> None:
        if self.images[split] < 1:
            raise InputError(f"data.{split}_images={self.images[split]}; expected at least 1.")

    def _numbers(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return arrangement and view of each image."""
        numbers = torch.arange(self.images[split])
        return _FIRST[split] + numbers // self.views, numbers % self.views


def _render(arrangement: Tensor, view: Tensor, size: int) -> dict[str, Tensor]:
    return asdict(render(arrangement, view, (size, size)))


def _sample(rendered: dict[str, Tensor], position: int) -> Sample:
    sample = {key: value[position] for key, value in rendered.items() if key != "instance"}
    identity, classes = sample.pop("arrangement"), sample["classes"]
    return {
        **sample,
        "image": sample["image"].float() / 255,
        "mask": sample["mask"].long(),
        "classes": torch.where(classes >= 0, classes + 1, -1),
        "identity": identity,
    }


class RenderedScenes(Dataset[Sample]):
    """Images that are rendered already."""

    def __init__(self, images: dict[str, Tensor]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images["image"])

    def __getitem__(self, index: int) -> Sample:
        return _sample(self.images, index)

    def size_of(self, index: int) -> torch.Size:
        """Return height and width."""
        return self.images["image"].shape[-2:]


class _Lazy(Dataset[Sample]):
    """Renders what is asked for, so that a few images of many cost little."""

    def __init__(self, arrangements: Tensor, views: Tensor, size: int) -> None:
        self.arrangements, self.views, self.size = arrangements, views, size

    def __len__(self) -> int:
        return len(self.arrangements)

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([index])[0]

    def size_of(self, index: int) -> tuple[int, int]:
        return self.size, self.size

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        rendered = self._render(indices)
        return [_sample(rendered, position) for position in range(len(indices))]

    def _render(self, indices: list[int]) -> dict[str, Tensor]:
        return _render(self.arrangements[indices], self.views[indices], self.size)


class _Kept(_Lazy):
    """Renders what is asked for the first time, 20 ms an image, and keeps it for the epochs to come.

    Processes forked to read images share what any of them has rendered.
    """

    def __init__(self, arrangements: Tensor, views: Tensor, size: int) -> None:
        super().__init__(arrangements, views, size)
        self._there = _shared(torch.zeros(1, dtype=torch.bool), len(self))
        self._images = {key: _shared(value, len(self)) for key, value in self._render([0]).items()}

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        missing = [index for index in indices if not self._there[index]]
        if missing:
            for key, value in self._render(missing).items():
                self._images[key][missing] = value
            self._there[missing] = True  # once all of it is there: another process may be reading
        return [_sample(self._images, index) for index in indices]


def _shared(example: Tensor, images: int) -> Tensor:
    """Return room for so many images, in memory that forked processes share and that is taken as it fills."""
    room = mmap(-1, example[0].nbytes * images)
    return torch.frombuffer(room, dtype=example.dtype).reshape(images, *example.shape[1:])
