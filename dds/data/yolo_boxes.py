from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dds.coco_ids import COCO_IDS
from dds.data.base import BaseDataModule, Sample, Split
from dds.data.boxed_images import BoxedImage, BoxedImages
from dds.data.files import open_image
from dds.errors import InputError

_SUFFIXES = {".jpg", ".jpeg", ".png"}
_REMEDY = (
    "Set data.root to a folder with images/<split>/<name>.jpg and labels/<split>/<name>.txt, a line 'class "
    "x y width height' for each object: class 0 to 79 in COCO's order, the box's centre and size as shares "
    "of the image's width and height; e.g. coco128 (github.com/ultralytics)."
)


class YoloBoxes(BaseDataModule):
    """COCO objects in the text layout of the YOLO detectors; images without a text file show no object.

    `classes` are COCO's category ids, 1 to 90 with gaps, as in `CocoDetection`.

    Args:
        root: Folder that holds images and labels.
        size: `[height, width]` of the letterbox, as in `CocoDetection`; null leaves images as they are.
        images: Folder of the images below `root`, one folder for each split in it.
        labels: Folder of the text files, likewise.
        test_split: What `val` and `test` both are.
        train_split: What is trained on.
        **options: Those of `BaseDataModule`.
    """

    def __init__(
        self,
        root: str = "data/coco128",
        size: tuple[int, int] | None = (640, 640),
        images: str = "images",
        labels: str = "labels",
        test_split: str = "val2017",
        train_split: str = "train2017",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        root_path = Path(root).expanduser()
        self.images, self.labels, self.size = root_path / images, root_path / labels, size
        self.test_split, self.train_split = test_split, train_split

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly mirrored."""
        name = self.train_split if split == "train" else self.test_split
        images = sorted(path for path in (self.images / name).glob("*") if path.suffix.lower() in _SUFFIXES)
        labels = {path.stem: path for path in (self.labels / name).glob("*.txt")}
        if not images or not labels:
            raise InputError(
                f"{len(images)} images in {self.images / name}, {len(labels)} text files in "
                f"{self.labels / name}. {_REMEDY}"
            )
        alone = sorted(set(labels) - {path.stem for path in images})
        if alone:
            raise InputError(f"{len(alone)} text files lack an image, e.g. {labels[alone[0]]}. {_REMEDY}")
        boxed = [_boxed_image(path, labels.get(path.stem)) for path in images]
        return BoxedImages(boxed, self.size, augment=split == "train")


def _boxed_image(path: Path, label: Path | None) -> BoxedImage:
    rows = _rows(label) if label else torch.zeros(0, 5, dtype=torch.float64)
    size = _size(path)
    sides = torch.tensor([size[1], size[0]])
    centre, extent = rows[:, 1:3] * sides, rows[:, 3:] * sides  # (n, 2)
    return BoxedImage(
        path,
        size,
        torch.cat([centre - extent / 2, centre + extent / 2], dim=1).float(),
        torch.tensor(COCO_IDS)[rows[:, 0].long()],
        torch.zeros(len(rows), dtype=torch.bool),
    )


def _size(path: Path) -> tuple[int, int]:
    """Return an image file's height and width, which its first bytes say."""
    with open_image(path) as file:
        return file.height, file.width


def _rows(path: Path) -> Tensor:
    """Return a text file's lines as `[n, 5]`."""
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
        rows = torch.tensor([[float(word) for word in line] for line in lines], dtype=torch.float64)
        rows = rows.reshape(len(lines), 5)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path} has a line that is not five numbers. {_REMEDY}") from error
    classes = rows[:, 0]
    bad = (classes != classes.floor()) | (classes < 0) | (classes >= len(COCO_IDS))
    if bad.any():
        raise InputError(f"{path} has the class {classes[bad][0]:g}; expected 0 to 79. {_REMEDY}")
    return rows
