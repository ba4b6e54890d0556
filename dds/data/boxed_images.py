from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

from dds.data.base import Sample
from dds.data.files import ImageFile, read_image
from dds.data.resizing import check_size, letterbox
from dds.errors import InputError

_ROUNDING = 1.0  # pixels that an annotated box may reach over the image's edge


@dataclass(frozen=True)
class BoxedImage:
    """An image file and the objects in it, n of them.

    Attributes:
        path: The image file.
        size: Height and width that the boxes speak of.
        boxes: `[n, 4]` float32 x1, y1, x2, y2 in pixel edges.
        classes: `[n]` int64.
        crowd: `[n]` bool, boxes around many objects.
    """

    path: ImageFile
    size: tuple[int, int]
    boxes: Tensor
    classes: Tensor
    crowd: Tensor


class BoxedImages(Dataset[Sample]):
    """Images with boxes, letterboxed; boxes are padded to the data set's largest number.

    Args:
        images: The images; those without objects stay.
        size: Height and width of the letterbox; None: images stay as they are.
        augment: For training: mirrored at random, and without boxes of no area (COCO has two).
    """

    def __init__(self, images: list[BoxedImage], size: tuple[int, int] | None, augment: bool) -> None:
        check_size(size)
        for image in images:
            _check_boxes(image)
        self.images = [_with_area(image) for image in images] if augment else images
        self.size, self.augment = size, augment
        self.places = max([1, *(len(image.boxes) for image in self.images)])

    @property
    def image_paths(self) -> list[ImageFile]:
        """The file of each image."""
        return [image.path for image in self.images]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        known = self.images[index]
        image, boxes = _read(known), known.boxes
        if self.augment and torch.rand(()) < 0.5:
            image, boxes = image.flip(-1), _mirrored(boxes, width=image.shape[-1])
        if self.size is not None:
            image, scale = letterbox(image, self.size)
            boxes = boxes * torch.tensor([*scale, *scale])
        return {
            "image": image.float() / 255,
            **fill_places(boxes, known.classes, known.crowd, self.places),
        }

    def size_of(self, index: int) -> tuple[int, int]:
        """Return height and width of an image as it is returned."""
        return self.size or self.images[index].size


def fill_places(boxes: Tensor, classes: Tensor, crowd: Tensor, places: int) -> dict[str, Tensor]:
    """Return the n boxes of an image with their classes, in as many places as every image has."""
    unused = places - len(boxes)
    return {
        "boxes": pad(boxes, (0, 0, 0, unused)),
        "classes": pad(classes, (0, unused), value=-1),
        "crowd": pad(crowd, (0, unused), value=False),
    }


def _read(known: BoxedImage) -> Tensor:
    image = read_image(known.path)
    if tuple(image.shape[1:]) != known.size:
        raise InputError(
            f"{known.path} is {tuple(image.shape[1:])} but its annotation speaks of {known.size} (height, "
            "width). Take images and annotations of the same release."
        )
    return image


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=-1)


def _with_area(image: BoxedImage) -> BoxedImage:
    keep = (image.boxes[:, 2:] > image.boxes[:, :2]).all(1)
    return replace(image, boxes=image.boxes[keep], classes=image.classes[keep], crowd=image.crowd[keep])


def _check_boxes(image: BoxedImage) -> None:
    height, width = image.size
    edge = torch.tensor([width, height]) + _ROUNDING
    low, high = image.boxes[:, :2], image.boxes[:, 2:]
    good = ((low >= -_ROUNDING) & (low <= high) & (high <= edge)).all(1)  # (n,), False for NaN too
    if not good.all():
        raise InputError(
            f"{image.path} has the box {image.boxes[~good][0].tolist()} (x1, y1, x2, y2) but measures "
            f"{width} x {height} pixels; expected boxes inside the image, of no negative size. Check the "
            "order and the units of the annotation's numbers, and that it belongs to this image."
        )
