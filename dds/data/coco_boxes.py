from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.boxed_images import BoxedImages
from dds.data.coco import read_instances
from dds.errors import InputError

_REMEDY = (
    "Set data.annotations to a JSON file in the form of COCO's instances (images, categories, annotations), "
    "and data.root to the folder that the names of its images start from."
)


class CocoBoxes(BaseDataModule):
    """Boxes in a JSON file of COCO's form, wherever it and its images lie.

    Args:
        root: Folder that the names of the images start from.
        annotations: The file; `val` and `test` both.
        train_annotations: The file for training, whose images start from `root` too.
        size: `[height, width]` of the letterbox, as in `CocoDetection`; null leaves images as they are.
        from_one: Whether `classes` count from 1 in the order of the categories' ids; default: they are the
            ids, which must start from 1 then.
        **options: Those of `BaseDataModule`.
    """

    def __init__(
        self,
        root: str,
        annotations: str,
        train_annotations: str | None = None,
        size: tuple[int, int] | None = (640, 640),
        from_one: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.size, self.from_one = Path(root).expanduser(), size, from_one
        self.annotations, self.train_annotations = annotations, train_annotations

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly mirrored."""
        given = self.train_annotations if split == "train" else self.annotations
        if given is None:
            raise InputError("data.train_annotations is not given; training needs a file of its own.")
        images = read_instances(Path(given).expanduser(), self.root, _REMEDY, self.from_one)
        if any((image.classes < 1).any() for image in images):
            raise InputError(
                f"{given} has objects of category 0, the detectors' background; expected ids from 1. Set "
                "data.from_one=true to count the categories from 1."
            )
        return BoxedImages(images, self.size, augment=split == "train")
