from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dds.batch import IGNORED
from dds.data.base import BaseDataModule, Sample, Split
from dds.data.mask_pairs import MaskPairs
from dds.data.voc_layout import CLASSES, REMEDY, find_release, image_path, read_image_set

_CLASSES = {value: value for value in range(1 + len(CLASSES))} | {255: IGNORED}  # 255: the objects' borders


class VocSegmentation(BaseDataModule):
    """Pascal VOC segmentation, 21 classes: background = 0, aeroplane = 1, ... tvmonitor = 20.

    Args:
        root: Folder of a release such as `VOC2012`, or the one that its archive was unpacked in.
        size: `[height, width]` that images and masks are resized to; null leaves them as they are.
        test_split: The set of `ImageSets/Segmentation` that is evaluated on.
        **options: Those of `BaseDataModule`.
    """

    mask_names = ("background", *CLASSES)

    def __init__(
        self,
        root: str = "data/VOC2012",
        size: tuple[int, int] | None = None,
        test_split: str = "val",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.size, self.test_split = Path(root).expanduser(), size, test_split

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly cropped, mirrored and recoloured."""
        release = find_release(self.root)
        names = read_image_set(release, "Segmentation", self.test_split if split == "test" else split)
        masks = release / "SegmentationClass"
        pairs = [(image_path(release, name), masks / f"{name}.png") for name in names]
        return MaskPairs(pairs, _CLASSES, self.size, augment=split == "train", remedy=REMEDY)
