from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.boxed_images import BoxedImage, BoxedImages
from dds.data.files import IMAGE_SUFFIXES, image_size, read_text
from dds.data.listing import visible
from dds.data.yolo_classes import CLASS_LISTS, category_ids, find_class_list, read_class_names
from dds.errors import InputError

_REMEDY = (
    "Set data.root to a folder with images/<split>/<name>.jpg and labels/<split>/<name>.txt, a line 'class "
    "x y width height' for each object: the box's centre and size as shares of the width and height of the "
    "image as it is shown, the class counted from 0 in data.yaml or classes.txt, else in COCO's order; e.g. "
    "coco128 (github.com/ultralytics)."
)


class YoloBoxes(BaseDataModule):
    """Objects in the text layout of the YOLO detectors; images without a text file show no object.

    `classes` count from 1 in the order of the class list; where that is COCO's, or there is none, they are
    COCO's category ids, 1 to 90 with gaps, as in `CocoDetection`.

    Args:
        root: Folder that holds images and labels.
        size: `[height, width]` of the letterbox, as in `CocoDetection`; null leaves images as they are.
        images: Folder of the images below `root`, one folder for each split in it.
        labels: Folder of the text files, likewise.
        test_split: What `val` and `test` both are.
        train_split: What is trained on.
        names: The class list: a path below `root`, of a YAML with `names` or of a text with a name a line;
            default: `data.yaml` or `classes.txt` where it lies in `root` or in the folder of the text files.
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
        names: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root = Path(root).expanduser()
        self.images, self.labels, self.size = self.root / images, self.root / labels, size
        self.test_split, self.train_split, self.names = test_split, train_split, names

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly mirrored."""
        name = self.train_split if split == "train" else self.test_split
        files = visible((self.images / name).glob("*"), self.images / name)
        images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        texts = visible((self.labels / name).glob("*.txt"), self.labels / name)
        labels = {path.stem: path for path in texts if path.name not in CLASS_LISTS}
        if not images or not labels:
            raise InputError(
                f"{len(images)} images in {self.images / name}, {len(labels)} text files in "
                f"{self.labels / name}. {_REMEDY}"
            )
        alone = sorted(set(labels) - {path.stem for path in images})
        if alone:
            raise InputError(f"{len(alone)} text files lack an image, e.g. {labels[alone[0]]}. {_REMEDY}")
        ids = self._category_ids(self.labels / name)
        boxed = [_boxed_image(path, labels.get(path.stem), ids) for path in images]
        return BoxedImages(boxed, self.size, augment=split == "train")

    def _category_ids(self, labels: Path) -> Tensor:
        """Return the category of each class that the text files count from 0."""
        path = self.root / self.names if self.names else find_class_list(self.root, self.labels, labels)
        return category_ids(read_class_names(path) if path else None)


def _boxed_image(path: Path, label: Path | None, ids: Tensor) -> BoxedImage:
    rows = _rows(label, len(ids)) if label else torch.zeros(0, 5, dtype=torch.float64)
    size = image_size(path)
    sides = torch.tensor([size[1], size[0]])
    centre, extent = rows[:, 1:3] * sides, rows[:, 3:] * sides  # (n, 2)
    return BoxedImage(
        path,
        size,
        torch.cat([centre - extent / 2, centre + extent / 2], dim=1).float(),
        ids[rows[:, 0].long()],
        torch.zeros(len(rows), dtype=torch.bool),
    )


def _rows(path: Path, classes: int) -> Tensor:
    """Return a text file's lines as `[n, 5]`."""
    try:
        lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
        rows = torch.tensor([[float(word) for word in line] for line in lines], dtype=torch.float64)
        rows = rows.reshape(len(lines), 5)
    except InputError:
        raise
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path} has a line that is not five numbers. {_REMEDY}") from error
    found = rows[:, 0]
    bad = (found != found.floor()) | (found < 0) | (found >= classes)
    if bad.any():
        raise InputError(f"{path} has the class {found[bad][0]:g}; expected 0 to {classes - 1}. {_REMEDY}")
    return rows
