from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as F

from dds.data.base import Sample
from dds.data.files import check_pixels, image_size, read_image
from dds.data.resizing import check_size, resize, resized
from dds.errors import InputError

Box = Sequence[float]


class ImageList(Dataset[Sample]):
    """Image files, cropped, then resized, each with what else is known of it.

    Args:
        paths: The files.
        size: As for `resize`.
        known: For each image, more entries of its sample.
        crops: For each image the part to cut out, x1, y1, x2, y2 in pixel edges, rounded; black where it
            reaches over the image's edge, as Pillow's `crop` does.
        augment: Mirror at random, for training.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: int | tuple[int, int] | None,
        known: Sequence[Mapping[str, Any]] | None = None,
        crops: Sequence[Box] | None = None,
        augment: bool = False,
    ) -> None:
        check_size(size)
        self.paths, self.size, self.augment = paths, size, augment
        self.known, self.crops = known or [{}] * len(paths), crops

    @property
    def image_paths(self) -> list[Path]:
        """The file of each image."""
        return list(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        image = read_image(self.paths[index])
        if self.crops is not None:
            image = _cropped(image, self.crops[index], self.paths[index])
        image = resize(image, self.size)
        if self.augment and torch.rand(()) < 0.5:
            image = image.flip(-1)
        return {"image": image.float() / 255, **self.known[index]}

    def size_of(self, index: int) -> tuple[int, int]:
        """Return height and width of an image as it is returned."""
        if self.crops is None:
            return resized(image_size(self.paths[index]), self.size)
        x1, y1, x2, y2 = map(round, self.crops[index])
        return resized((y2 - y1, x2 - x1), self.size)


def _cropped(image: Tensor, box: Box, path: Path) -> Tensor:
    height, width = image.shape[1:]
    x1, y1, x2, y2 = (round(edge) for edge in box)
    if max(x1, 0) >= min(x2, width) or max(y1, 0) >= min(y2, height):
        raise InputError(
            f"{path} is to be cropped to {list(box)} (x1, y1, x2, y2), where nothing of its {width} x "
            f"{height} pixels lies. Take images and annotations of the same release."
        )
    check_pixels(f"the crop {list(box)} of {path}", y2 - y1, x2 - x1)  # it may reach far over the edge
    return F.crop(image, y1, x1, y2 - y1, x2 - x1)  # type: ignore[no-any-return]
