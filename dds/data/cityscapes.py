from pathlib import Path
from typing import Any

from torch.utils.data import Dataset
from torchvision import datasets

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.listing import list_files
from dds.data.mask_pairs import MaskPairs

_CLASSES = {label.id: label.train_id for label in datasets.Cityscapes.classes if label.id >= 0}
_REMEDY = (
    "Download leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip (cityscapes-dataset.com), unpack both "
    "into one folder and set data.root to it: it then holds leftImg8bit/<split>/<city>/*_leftImg8bit.png and "
    "gtFine/<split>/<city>/*_gtFine_labelIds.png."
)


class Cityscapes(BaseDataModule):
    """Cityscapes with fine annotations, 19 classes ("train ids"); evaluated on the 500 validation images.

    Args:
        root: Folder that holds `leftImg8bit` and `gtFine`.
        size: `[height, width]` that images and masks are resized to; null leaves them at 1024x2048.
        **options: Those of `BaseDataModule`.
    """

    mask_names = tuple(label.name for label in datasets.Cityscapes.classes if label.train_id in range(19))

    def __init__(
        self, root: str = "data/cityscapes", size: tuple[int, int] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.root, self.size = Path(root).expanduser(), size

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly cropped, mirrored and recoloured."""
        folder = "train" if split == "train" else "val"  # the annotations of `test` are withheld
        images = list_files(self.root / "leftImg8bit" / folder, "*/*_leftImg8bit.png", _REMEDY)
        pairs = [(image, self._mask(image)) for image in images]
        return MaskPairs(pairs, _CLASSES, self.size, augment=split == "train", remedy=_REMEDY)

    def _mask(self, image: Path) -> Path:
        scene = image.name.removesuffix("_leftImg8bit.png")
        city = image.parent.relative_to(self.root / "leftImg8bit")
        return self.root / "gtFine" / city / f"{scene}_gtFine_labelIds.png"
