from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from dds.data.base import Sample
from dds.data.files import read_image
from dds.data.transforms import resize_to
from dds.errors import InputError

_UNKNOWN = -1


class MaskPairs(Dataset[Sample]):
    """Images with a class for each pixel, read from pairs of files.

    A sample holds `image` [3, H, W] float32 in [0, 1] and `mask` [H, W] int64.

    Args:
        pairs: Path of each image and of its mask, whose one 8-bit channel (or palette index) tells classes.
        classes: Class of each value that a mask may hold; 255 for values that are ignored.
        size: `(height, width)` that both are resized to; None leaves them as they are.
        augment: Crop, mirror and recolour at random, for training.
        remedy: What to do if the files are not as expected; ends the errors' messages.

    Raises:
        InputError: If a mask is absent; when a sample is read, if a file is damaged, an image and its mask
            differ in size, or a mask holds a value that no class has.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        classes: Mapping[int, int],
        size: tuple[int, int] | None,
        augment: bool,
        remedy: str,
    ) -> None:
        self.pairs, self.remedy = pairs, remedy
        absent = [mask for _, mask in pairs if not mask.is_file()]
        if absent:
            raise InputError(f"{len(absent)} images lack a mask, e.g. {absent[0]}. {remedy}")
        self.class_of_value = torch.full((256,), _UNKNOWN)
        self.class_of_value[list(classes)] = torch.tensor(list(classes.values()))
        self.transform = resize_to(size, augment)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        image, mask = self._read(*self.pairs[index])
        image, mask = self.transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return {
            "image": image.as_subclass(Tensor).float() / 255,
            "mask": self.class_of_value[mask.as_subclass(Tensor).long()],
        }

    def _read(self, image_path: Path, mask_path: Path) -> tuple[Tensor, Tensor]:
        image, mask = read_image(image_path), read_image(mask_path, mode=None)
        if mask.dtype != torch.uint8 or len(mask) != 1:
            raise InputError(
                f"{mask_path} has {len(mask)} channels of {mask.dtype}; expected one of uint8, the class of "
                f"each pixel. {self.remedy}"
            )
        height_width = tuple(mask.shape[1:])
        if tuple(image.shape[1:]) != height_width:
            raise InputError(
                f"{image_path} is {tuple(image.shape[1:])} but its mask {height_width}. {self.remedy}"
            )
        self._check_values(mask, mask_path)
        return image, mask[0]

    def _check_values(self, mask: Tensor, path: Path) -> None:
        found = torch.bincount(mask.flatten(), minlength=256) > 0
        unknown = (found & (self.class_of_value == _UNKNOWN)).nonzero().flatten().tolist()
        if unknown:
            known = (self.class_of_value != _UNKNOWN).nonzero().flatten().tolist()
            raise InputError(
                f"{path} holds the values {unknown[:5]}, which stand for no class; expected {len(known)} "
                f"values from {known[0]} to {known[-1]}. {self.remedy}"
            )
