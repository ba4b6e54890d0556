import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dds.batch import IGNORED
from dds.data.base import BaseDataModule, Sample, Split
from dds.data.mask_pairs import MaskPairs
from dds.data.pairing import check_patterns, find_pairs, take_part
from dds.errors import InputError

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
        others: Class of all values, or colours, that are not named, e.g. 0; default: a mask
            that holds one is refused.
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
        if classes and colours:
            raise InputError("data.classes and data.colours are both given; expected one of them.")
        self.root, self.images, self.masks = Path(root).expanduser(), images, masks
        self.classes, self.colours, self.others, self.ignored = classes, colours, others, ignored
        self.size, self.held_out = size, held_out
        self._map = self._read_map()

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly cropped, mirrored and recoloured."""
        pairs = take_part(
            find_pairs(self.root, self.images, self.masks, "masks", _REMEDY), split, self.held_out
        )
        training, coloured = split == "train", self.colours is not None
        return MaskPairs(pairs, self._map, self.size, training, _REMEDY, coloured, self.others)

    def _read_map(self) -> dict[int, int]:
        """Return the label of each value that a mask may hold."""
        named: Mapping[int, int | None] = self.classes or dict(enumerate([*range(255), None]))
        if self.colours is not None:
            named = {_number(colour): number for colour, number in self.colours.items()}
        negative = [number for number in (*named.values(), self.others) if number is not None and number < 0]
        if negative:
            raise InputError(f"a mask's value stands for class {negative[0]}; expected 0 or more, or null.")
        return {value: self.ignored if number is None else number for value, number in named.items()}


def _number(colour: str) -> int:
    if not re.fullmatch("#?[0-9a-fA-F]{6}", colour):
        raise InputError(f"data.colours names {colour!r}; expected a colour such as '#800000'.")
    return int(colour.removeprefix("#"), 16)
