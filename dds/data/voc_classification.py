from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.labelled_images import LabelledImages
from dds.data.listing import require_files
from dds.data.transforms import resize_to
from dds.data.voc_layout import CLASSES, REMEDY, find_release, image_path, read_image_set
from dds.errors import InputError


class VocClassification(BaseDataModule):
    """Pascal VOC classification, 20 classes: aeroplane = 0, ... tvmonitor = 19.

    Args:
        root: Folder of a release such as `VOC2012`, or the one that its archive was unpacked in.
        multi_label: True: every image, with `labels` [20]: 1 for each class that it shows, 0 else, -1 where
            only objects marked "difficult" show it (neither right nor wrong in the challenge). False: only
            images whose objects, "difficult" ones aside, are of one class, with that `label`.
        size: `[height, width]` that images are resized to; null leaves them as they are.
        test_split: The set of `ImageSets/Main` that is evaluated on.
        **options: Those of `BaseDataModule`.
    """

    def __init__(
        self,
        root: str = "data/VOC2012",
        multi_label: bool = False,
        size: tuple[int, int] | None = None,
        test_split: str = "val",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.size, self.test_split = Path(root).expanduser(), size, test_split
        self.multi_label = multi_label

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly cropped, mirrored and recoloured."""
        release = find_release(self.root)
        names = read_image_set(release, "Main", self.test_split if split == "test" else split)
        images = [image_path(release, name) for name in names]
        labels = _read_labels([release / "Annotations" / f"{name}.xml" for name in names])  # (N, 20)
        transform = resize_to(self.size, augment=split == "train")
        if self.multi_label:
            return LabelledImages(images, "labels", labels, transform)
        pure = ((labels == 1).sum(1) == 1).nonzero().flatten().tolist()
        return LabelledImages([images[i] for i in pure], "label", labels[pure].argmax(1), transform)


def _read_labels(annotations: list[Path]) -> Tensor:
    require_files(annotations, REMEDY)
    labels = torch.zeros(len(annotations), len(CLASSES))
    for row, path in enumerate(annotations):
        difficult_first = sorted(_objects(path), key=lambda found: not found[1])  # plain ones overrule them
        for index, difficult in difficult_first:
            labels[row, index] = -1 if difficult else 1
    return labels


def _objects(path: Path) -> Iterator[tuple[int, bool]]:
    """Read the class of each object in an image, and whether it is marked difficult."""
    try:
        annotation = ElementTree.parse(path)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{path} cannot be read as XML: {error}. {REMEDY}") from error
    for found in annotation.iterfind("object"):
        name = found.findtext("name", "").strip()
        if name not in CLASSES:
            raise InputError(f"{path} holds a {name!r}; expected one of {', '.join(CLASSES)}. {REMEDY}")
        yield CLASSES.index(name), found.findtext("difficult") == "1"
