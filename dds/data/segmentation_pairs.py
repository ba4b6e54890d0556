from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dds.batch import IGNORED
from dds.data.base import BaseDataModule, Sample, Split
from dds.data.mask_pairs import MaskPairs
from dds.data.mask_values import label_of_each_value
from dds.data.pairing import check_patterns, find_pairs, take_part

_REMEDY = (
    "Set data.root to the folder, data.images and data.masks to two patterns in which * stands for the same "
    "in an image and in its mask, e.g. 'images/*.jpg' and 'masks/*.png', and data.classes to the class of "
    "each value, e.g. {0: 0, 128: 1, 255: null}, or data.colours to that of each colour, {'#800000': 1}."
)


class SegmentationPairs(BaseDataModule):
    """Any folder of images and masks, found by two patterns.

    Two files are a pair if what `*` stands for is the same in both; it never stands for a `/`.

    Args:
        root: The folder.
        images: Pattern of the images below `root`, e.g. `*/rgb/*.jpg`.
        masks: Pattern of the masks, with as many `*`: one channel or a palette, of 8 or 16 bits.
        classes: Class of each value of a mask, `{0: 0, 128: 1, 255: null}`; null is ignored. Default: a value
            is its class, and 255 is ignored.
        colours: For masks that are RGB pictures, class of each colour, `{"#000000": 0, "#800000": 1}`.
        others: Class of all values, or colours, that are not named, e.g. 0; default: a mask that holds one
            is refused.
        ignored: The label of ignored pixels, which must be the task's `ignore_index`.
        size: `[height, width]` that images and masks are resized to; null as they are.
        held_out: As in `DepthPairs`.
        **options: Those of `BaseDataModule`.
    """

    def __init__(
        self,
        root: str,
        images: str = "images/*.jpg",
        masks: str = "masks/*.png",
        classes: dict[int, int | None] | None = None,
        colours: dict[str, int | None] | None = None,
        others: int | None = None,
        ignored: int = IGNORED,
        size: tuple[int, int] | None = None,
        held_out: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_patterns({"images": images, "masks": masks}, held_out, _REMEDY)
        self.root, self.images, self.masks = Path(root).expanduser(), images, masks
        self.classes, self.colours, self.others, self.ignored = classes, colours, others, ignored
        self.size, self.held_out = size, held_out
        self._map = label_of_each_value(classes, colours, others, ignored)

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly cropped, mirrored and recoloured."""
        pairs = take_part(
            find_pairs(self.root, self.images, self.masks, "masks", _REMEDY), split, self.held_out
        )
        training, coloured = split == "train", self.colours is not None
        return MaskPairs(pairs, self._map, self.size, training, _REMEDY, coloured, self.others)
