import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from torch.utils.data import Dataset
from torchvision.transforms import v2

from dds.batch import IGNORED
from dds.data.base import BaseDataModule, Sample, Split
from dds.data.boxed_images import BoxedImages
from dds.data.depth_files import DepthFiles
from dds.data.files import read_values
from dds.data.hub_table import BoxFormat, HubTable
from dds.data.labelled_images import LabelledImages
from dds.data.mask_pairs import MaskPairs
from dds.data.mask_values import label_of_each_value
from dds.data.transforms import resize_and_crop, resize_to
from dds.errors import InputError
from dds.models.hub.reaching import library, reaching, source_of

Kind = Literal["label", "labels", "mask", "depth", "boxes"]

_IMAGES = ("image", "img")
_TARGETS: dict[Kind, Sequence[str]] = {
    "label": ("label", "labels"),
    "labels": ("labels", "label"),
    "mask": ("mask", "label", "annotation"),
    "depth": ("depth", "depth_map"),
    "boxes": ("objects",),
}
"""Usual names of columns; the first that is there counts."""

_ON_DISK = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves
_REMEDY = "Check data.target, data.classes, data.colours and data.size."


class HubDataset(BaseDataModule):
    """A data set of the Hugging Face hub, or a folder that `datasets` reads.

    Images are columns of images, as files hold them, or of arrays of whole numbers up to 255. Targets are, by
    `kind`: `label`, classes; `labels`, lists of classes, or for each class 1, 0 or -1 (not known); `mask`,
    images of one channel, a palette or colours, or arrays; `depth`, images of one channel or arrays; `boxes`,
    objects as COCO's, `{bbox: …, category: …}`, whose classes count from 1, or are COCO's ids where their
    names are COCO's.

    Args:
        name: E.g. `rishitdagli/cppe-5`; or a folder: what `save_to_disk` left, Parquet files, or images.
        kind: What the targets are.
        image: Column of the images; default: `image` or `img`.
        target: Column of the targets; default: the usual one, e.g. `label`, `objects`.
        test_split: The split that is evaluated on; `val` and `test` both.
        train_split: The split that is trained on.
        config: Which of several data sets of one name.
        revision: Branch, tag or commit on the hub.
        classes: Class of each value, `{0: 255, 7: 0}`, or of each name, `{cat: 0, dog: 1}`; of masks null is
            ignored. Default: a value is its class, and 255 is ignored in masks.
        colours: For masks that are pictures, class of each colour, `{"#000000": 0, "#800000": 1}`.
        others: Of masks, the class of all values or colours that are not named; default: they are refused.
        ignored: The label of ignored pixels, which must be the task's `ignore_index`.
        box_format: `xywh` (corner, width, height) or `xyxy` (two corners), in pixels.
        depth_scale: What depth counts for one metre: 1000 for millimetres. Default: depth is in metres, and
            must not be of whole numbers.
        invalid: Values that stand for unknown depth, besides 0, e.g. `[.nan]`.
        size: `[height, width]` that images are resized to, with masks and depth; with boxes the letterbox, as
            in `CocoDetection`. Default: as they are.
        resize: As in `ImageFolder`, for `label` and `labels`, in the place of `size`; default: as they are.
        crop: Likewise.
        **options: Those of `BaseDataModule`.
    """

    name: str

    def __init__(
        self,
        name: str,
        kind: Kind = "label",
        image: str | None = None,
        target: str | None = None,
        test_split: str = "test",
        train_split: str = "train",
        config: str | None = None,
        revision: str | None = None,
        classes: dict[int | str, int | None] | None = None,
        colours: dict[str, int | None] | None = None,
        others: int | None = None,
        ignored: int = IGNORED,
        box_format: BoxFormat = "xywh",
        depth_scale: float | None = None,
        invalid: list[float] | None = None,
        size: tuple[int, int] | None = None,
        resize: int | None = None,
        crop: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for setting, value, allowed in (("kind", kind, Kind), ("box_format", box_format, BoxFormat)):
            if value not in get_args(allowed):
                raise InputError(f"data.{setting}={value}; expected {', '.join(get_args(allowed))}.")
        if (resize or crop) and (size or kind not in ("label", "labels")):
            raise InputError(
                "data.resize and data.crop are for images with labels, in the place of data.size; not with "
                f"data.kind={kind} and data.size={size}. Leave them out."
            )
        self.name, self.kind, self.image, self.target = name, kind, image, target
        self.test_split, self.train_split = test_split, train_split
        self.config, self.revision = config, revision
        self.classes, self.colours, self.others, self.ignored = classes, colours, others, ignored
        self.box_format, self.depth_scale, self.invalid = box_format, depth_scale, invalid or []
        self.size, self.resize, self.crop = size, resize, crop

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are varied as those of other data sets with such targets."""
        table = self.table(self.train_split if split == "train" else self.test_split)
        images = table.files(table.choose("image", self.image, _IMAGES))
        column = table.choose("target", self.target, _TARGETS[self.kind])
        training = split == "train"
        if self.kind == "boxes":
            boxed = table.boxed(images, column, self.box_format, self.classes)
            return BoxedImages(boxed, self.size, augment=training)
        if self.kind == "mask":
            return self._masks(list(zip(images, table.files(column), strict=True)), training)
        if self.kind == "depth":
            return self._depths(list(zip(images, table.files(column), strict=True)), training)
        read = table.labels if self.kind == "label" else table.label_sets
        return LabelledImages(images, self.kind, read(column, self.classes), self._transform(training))

    def table(self, split: str) -> HubTable:
        """Open a split.

        Raises:
            InputError: If `datasets` is not installed, or there is no such data set, no way to it, or no such
                split.
        """
        datasets = library("datasets")
        source = source_of(self.name)
        folder = Path(source).absolute()
        if Path(source).is_absolute() and not folder.is_dir():
            raise InputError(f"{source} does not exist. Set data.name to a folder, or to a name on the hub.")
        with reaching(self.name, "data set"):
            if any((folder / name).is_file() for name in _ON_DISK):
                opened = datasets.load_from_disk(source)
                return HubTable(_of_split(opened, split, self.name), (folder,))
            try:
                opened = datasets.load_dataset(source, self.config, split=split, revision=self.revision)
            except ValueError as error:
                if type(error) is not ValueError:  # of the hub, which `reaching` explains
                    raise
                raise InputError(
                    f"{self.name}: {' '.join(str(error).split())} Check data.test_split, data.train_split "
                    "and data.config."
                ) from error
        from huggingface_hub.constants import HF_HUB_CACHE  # which is there with `datasets`

        config = datasets.config
        caches = config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, HF_HUB_CACHE
        return HubTable(opened, (folder, *map(Path, caches)))

    def _transform(self, training: bool) -> v2.Transform:
        if self.size is not None:
            return resize_to(self.size, training)
        return resize_and_crop(self.resize, self.crop, training)

    def _masks(self, pairs: list[Any], training: bool) -> Dataset[Sample]:
        labels = label_of_each_value(self.classes, self.colours, self.others, self.ignored)
        coloured = self.colours is not None
        return MaskPairs(pairs, labels, self.size, training, _REMEDY, coloured, self.others)

    def _depths(self, pairs: list[Any], training: bool) -> Dataset[Sample]:
        if self.depth_scale is None and pairs and not read_values(pairs[0][1]).is_floating_point():
            raise InputError(
                f"{pairs[0][1]} has whole numbers; expected metres. Set data.depth_scale to what they count "
                "for one metre, e.g. 1000 for millimetres."
            )
        return DepthFiles(pairs, self.depth_scale or 1.0, self.invalid, self.size, training)


class GivenTable(HubDataset):
    """A split of a data set of `datasets` that somebody has at hand.

    Args:
        dataset: A `datasets.Dataset`.
        kind: As for `HubDataset`.
        **options: Those of `HubDataset`, such as `image`, `target` and `classes`, and of `BaseDataModule`.
    """

    def __init__(self, dataset: Any, kind: Kind = "label", **options: Any) -> None:
        super().__init__(type(dataset).__name__, kind, **options)
        self._dataset, self.options = dataset, options  # the latter for the run's configuration

    @property
    def source(self) -> type:
        """The class of the data set."""
        return type(self._dataset)

    def table(self, split: str) -> HubTable:
        """Return the data set; there is no other split."""
        return HubTable(self._dataset)


def is_table(data: Any) -> bool:
    """Tell whether somebody holds a data set of `datasets`, whose columns are to be read.

    One with a transform of its own (`set_transform`) gives samples, as any other data set.
    """
    datasets = sys.modules.get("datasets")
    return datasets is not None and isinstance(data, datasets.Dataset) and data.format["type"] != "custom"


def _of_split(opened: Any, split: str, name: str) -> Any:
    """Return a split of what was saved; a data set that was saved alone serves every split."""
    if not isinstance(opened, dict):
        return opened
    if split not in opened:
        raise InputError(
            f"{name} has no split {split}, only {', '.join(opened)}. Set data.test_split or data.train_split."
        )
    return opened[split]
