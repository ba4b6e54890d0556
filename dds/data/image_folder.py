from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.labelled_images import LabelledImages
from dds.data.labels_csv import read_labels
from dds.data.listing import inside, list_images, require_files, visible
from dds.data.transforms import resize_and_crop
from dds.errors import InputError

_REMEDY = (
    "Set data.root to a folder of <split>/<class>/<image> files (ImageNet: val/n01440764/*.JPEG, ...), of "
    "<class>/<image> files, or of labels.csv (columns file, class_index) and images/<file>."
)


class ImageFolder(BaseDataModule):
    """Image files sorted into a folder for each class, as ImageNet's, or listed in a table.

    Under `<root>/<split>`, or the root itself where it has no such folders (it then serves every split):
    either `<class>/*`, classes numbered in alphabetical order (ImageNet's in the usual one), or `labels.csv`
    with the columns `file` and `class_index`, and the files in `images`. A class without images in a split,
    or without a folder there, keeps its number; hidden folders are no classes.

    Args:
        root: The folder.
        resize: Length of the shorter side that images are resized to; null leaves them as they are.
        crop: Side of the square that is cut out of the centre; null keeps the whole image.
        classes: How many classes there must be, e.g. 1000; null takes what there is.
        test_split: The folder that is evaluated on.
        **options: Those of `BaseDataModule`.
    """

    def __init__(
        self,
        root: str = "data/imagenet",
        resize: int | None = 256,
        crop: int | None = 224,
        classes: int | None = None,
        test_split: str = "val",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.resize, self.crop = Path(root).expanduser(), resize, crop
        self.classes, self.test_split = classes, test_split
        self._splits = {"train", "val", test_split}

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly cropped and mirrored."""
        transform = resize_and_crop(self.resize, self.crop, augment=split == "train")
        folder = self._folder(self.test_split if split == "test" else split)
        read = self._listed if (folder / "labels.csv").is_file() else self._sorted
        images, labels = read(folder)
        return LabelledImages(images, "label", torch.tensor(labels), transform)

    def _folder(self, split: str) -> Path:
        there = sorted(name for name in {*self._splits, "test"} if (self.root / name).is_dir())
        if there and split not in there:
            raise InputError(
                f"{self.root} has no folder {split}, only {', '.join(there)}. Set data.test_split to the one "
                "to evaluate on."
            )
        return self.root / split if there else self.root

    def _sorted(self, folder: Path) -> tuple[list[Path], list[int]]:
        names = self._class_names(folder)
        images = [list_images(folder / name) for name in names]
        if not any(images):
            raise InputError(f"{folder} has no images sorted into classes. {_REMEDY}")
        if self.classes not in (None, len(names)):
            raise InputError(
                f"{folder} has {len(names)} folders; expected data.classes={self.classes}, as their "
                "alphabetical order numbers the classes. Complete them, or list the files in a labels.csv."
            )
        labels = [number for number, those in enumerate(images) for _ in those]
        return [path for those in images for path in those], labels

    def _class_names(self, folder: Path) -> list[str]:
        """Return all classes of a split and of those that must number them alike."""
        splits = {folder} if folder == self.root else {self.root / name for name in self._splits}
        sorted_ones = [one for one in splits if one.is_dir() and not (one / "labels.csv").is_file()]
        paths = (path for one in sorted_ones for path in visible(one.iterdir(), one) if path.is_dir())
        return sorted({path.name for path in paths})

    def _listed(self, folder: Path) -> tuple[list[Path], list[int]]:
        names, labels = read_labels(folder / "labels.csv")
        images = [inside(folder / "images", name, folder / "labels.csv") for name in names]
        require_files(images, _REMEDY)
        if self.classes is not None and max(labels, default=0) >= self.classes:
            raise InputError(
                f"{folder / 'labels.csv'} holds class {max(labels)}; expected 0 to {self.classes - 1}, as "
                f"data.classes={self.classes}. Correct the table or data.classes."
            )
        return images, labels
