from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from dds.data.base import Sample
from dds.data.files import ImageFile, image_size, read_image, read_values
from dds.data.transforms import resize_to
from dds.errors import InputError

_DEEP = (torch.uint16, torch.int32)  # how 16 bits are read


class MaskPairs(Dataset[Sample]):
    """Images with a class for each pixel, read from pairs of files.

    A sample holds `image` [3, H, W] float32 in [0, 1] and `mask` [H, W] int64.

    Args:
        pairs: Path of each image and of its mask, whose one channel (or palette index) tells classes; it has
            8 bits, or 16 where `classes` names values above 255.
        classes: Class of each value that a mask may hold; 255 for values that are ignored.
        size: `(height, width)` that both are resized to; None leaves them as they are.
        augment: Crop, mirror and recolour at random, for training.
        remedy: What to do if the files are not as expected; ends the errors' messages.
        colours: Whether masks are RGB pictures instead, whose colours, 0xRRGGBB, tell classes.
        others: Class of all values that `classes` does not name; None if there must be none.

    Raises:
        InputError: If a mask is absent; when a sample is read, if a file is damaged, an image and its mask
            differ in size, or a mask holds a value that no class has.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[ImageFile, ImageFile]],
        classes: Mapping[int, int],
        size: tuple[int, int] | None,
        augment: bool,
        remedy: str,
        colours: bool = False,
        others: int | None = None,
    ) -> None:
        self.pairs, self.remedy, self.colours, self.others = pairs, remedy, colours, others
        absent = [mask for _, mask in pairs if not mask.is_file()]
        if absent:
            raise InputError(f"{len(absent)} images lack a mask, e.g. {absent[0]}. {remedy}")
        self.values = torch.tensor(sorted(classes))  # (K,)
        self.classes = torch.tensor([classes[value] for value in sorted(classes)])
        self.size, self.transform = size, resize_to(size, augment)

    @property
    def image_paths(self) -> list[ImageFile]:
        """The file of each image."""
        return [image for image, _ in self.pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        image, mask = self._read(*self.pairs[index])
        image, mask = self.transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return {"image": image.as_subclass(Tensor).float() / 255, "mask": mask.as_subclass(Tensor)}

    def size_of(self, index: int) -> tuple[int, int]:
        """Return height and width of an image as it is returned."""
        return self.size or image_size(self.pairs[index][0])

    def _read(self, image_path: ImageFile, mask_path: ImageFile) -> tuple[Tensor, Tensor]:
        image, mask = read_image(image_path), read_values(mask_path, palette=not self.colours)
        height_width = tuple(mask.shape[1:])
        values = self._colour_values(mask, mask_path) if self.colours else self._values(mask, mask_path)
        if tuple(image.shape[1:]) != height_width:
            raise InputError(
                f"{image_path} is {tuple(image.shape[1:])} but its mask {height_width}. {self.remedy}"
            )
        return image, self._classes(values, mask_path)

    def _values(self, mask: Tensor, path: ImageFile) -> Tensor:
        kinds = (torch.uint8, *_DEEP) if self.values[-1] > 255 else (torch.uint8,)
        if mask.dtype not in kinds or len(mask) != 1:
            raise InputError(
                f"{path} has {len(mask)} channels of {mask.dtype}; expected one of uint8, the class of "
                f"each pixel. {self.remedy}"
            )
        return mask[0].long()

    def _colour_values(self, mask: Tensor, path: ImageFile) -> Tensor:
        if mask.dtype != torch.uint8 or len(mask) != 3:
            raise InputError(
                f"{path} has {len(mask)} channels of {mask.dtype}; expected three of uint8, the colour of "
                f"each pixel. {self.remedy}"
            )
        red, green, blue = mask.long().unbind()
        return (red * 256 + green) * 256 + blue

    def _classes(self, values: Tensor, path: ImageFile) -> Tensor:
        """Return the class of each value, `[H, W]`."""
        places = torch.searchsorted(self.values, values).clamp(max=len(self.values) - 1)
        known = self.values[places] == values
        if self.others is not None:
            return self.classes[places].where(known, self.others)
        if unknown := torch.unique(values[~known]).tolist():
            say: Callable[[int], str] = "#{:06x}".format if self.colours else str
            raise InputError(
                f"{path} holds the values [{', '.join(map(say, unknown[:5]))}], which stand for no class; "
                f"expected {len(self.values)} values from {say(int(self.values[0]))} to "
                f"{say(int(self.values[-1]))}. {self.remedy}"
            )
        return self.classes[places]
