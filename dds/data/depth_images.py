from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from dds.data.base import Sample
from dds.data.resizing import check_size, resize
from dds.errors import InputError

_ROUNDING = 1e-6  # metres


class DepthImages(Dataset[Sample], ABC):
    """Images with their depth: checked, resized and, for training, mirrored and recoloured.

    Args:
        size: `(height, width)`; images are resized with antialiasing, depth takes the nearest pixel, so that
            no depth is made up at edges and holes. None: as they are.
        augment: For training.
    """

    def __init__(self, size: tuple[int, int] | None, augment: bool) -> None:
        check_size(size)
        self.size = size
        self.transform = v2.Identity()
        if augment:
            self.transform = v2.Compose([v2.RandomHorizontalFlip(), v2.ColorJitter(0.3, 0.3, 0.3)])

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def read(self, index: int) -> tuple[str, Tensor, Tensor]:
        """Return a name for errors, the image `[3, H, W]` uint8 and its depth `[H, W]` float32 metres."""

    def __getitem__(self, index: int) -> Sample:
        name, image, depth = self.read(index)
        _check(name, image, depth)
        image, depth = resize(image, self.size), _nearest(depth, self.size)
        image, depth = self.transform(tv_tensors.Image(image), tv_tensors.Mask(depth))
        return {"image": image.as_subclass(Tensor).float() / 255, "depth": depth.as_subclass(Tensor)}


def _nearest(depth: Tensor, size: tuple[int, int] | None) -> Tensor:
    if size is None:
        return depth
    return torch.nn.functional.interpolate(depth[None, None], size, mode="nearest-exact")[0, 0]


def _check(name: str, image: Tensor, depth: Tensor) -> None:
    if depth.shape != image.shape[1:]:
        raise InputError(
            f"{name} is {tuple(depth.shape)} but its image {tuple(image.shape[1:])}; expected depth for each "
            "pixel. Register the depth to the image, or take the undistorted pair."
        )
    if not (torch.isfinite(depth) & (depth > -_ROUNDING)).all():
        raise InputError(
            f"{name} holds depth that is NaN, infinite or negative; expected metres. Write 0 where depth is "
            "unknown, or name the value that stands for it (data.invalid of DepthPairs, e.g. [.nan, .inf])."
        )
    if not (depth > 0).any():
        raise InputError(
            f"{name} has no pixel of known depth; expected at least one. Leave the image out, and check "
            "which value stands for unknown depth."
        )
