from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dds.batch import IGNORED
from dds.data.base import BaseDataModule, Sample, Split
from dds.data.files import read_lines
from dds.data.listing import list_files
from dds.data.mask_pairs import MaskPairs

_CLASSES = {0: IGNORED} | {value: value - 1 for value in range(1, 151)}  # 0 is "other objects"
_REMEDY = (
    "Download ADEChallengeData2016.zip (sceneparsing.csail.mit.edu; not the full ADE20K), unpack it and set "
    "data.root to its folder ADEChallengeData2016, which holds images/<split>/*.jpg and "
    "annotations/<split>/*.png for the splits training and validation."
)


class Ade20k(BaseDataModule):
    """ADE20K scene parsing, 150 classes (Zhou et al., CVPR 2017); evaluated on the 2,000 validation images.

    Args:
        root: Folder `ADEChallengeData2016`, which holds `images` and `annotations`.
        size: `[height, width]` that images and masks are resized to; null leaves them as they are.
        **options: Those of `BaseDataModule`.
    """

    def __init__(
        self,
        root: str = "data/ADEChallengeData2016",
        size: tuple[int, int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.size = Path(root).expanduser(), size

    @property
    def mask_names(self) -> list[str]:  # type: ignore[override]
        """The names of `objectInfo150.txt`, which lies beside the images; of synonyms the first."""
        path = self.root / "objectInfo150.txt"
        lines = read_lines(path)[1:] if path.is_file() else []
        return [line.split("\t")[-1].split(",")[0].strip() for line in lines]

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly cropped, mirrored and recoloured."""
        folder = "training" if split == "train" else "validation"
        images = list_files(self.root / "images" / folder, "*.jpg", _REMEDY)
        pairs = [(image, self.root / "annotations" / folder / f"{image.stem}.png") for image in images]
        return MaskPairs(pairs, _CLASSES, self.size, augment=split == "train", remedy=_REMEDY)
