from collections.abc import Sequence
from functools import cached_property

from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from dds.data.base import Sample
from dds.data.files import ImageFile, image_size, read_image
from dds.data.transforms import size_after


class LabelledImages(Dataset[Sample]):
    """Image files with a target each.

    A sample holds `image` [3, H, W] float32 in [0, 1] and the target.

    Args:
        paths: The N image files.
        key: What the target is called in a batch, `label` or `labels`.
        targets: `[N]` or `[N, C]`.
        transform: Applied to each image, `[3, h, w]` uint8.
    """

    def __init__(
        self, paths: Sequence[ImageFile], key: str, targets: Tensor, transform: v2.Transform
    ) -> None:
        self.paths, self.key, self.targets, self.transform = paths, key, targets, transform

    @property
    def image_paths(self) -> list[ImageFile]:
        """The file of each image."""
        return list(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        image = self.transform(read_image(self.paths[index]))
        return {"image": image.float() / 255, self.key: self.targets[index]}

    def size_of(self, index: int) -> tuple[int, int]:
        """Return height and width of an image as it is returned."""
        return self._only_size or size_after(self.transform, image_size(self.paths[index]))

    @cached_property
    def _only_size(self) -> tuple[int, int] | None:
        """What images of all shapes are brought to, if that is one size; no file need be opened then."""
        upright, flat = (size_after(self.transform, size) for size in ((1000, 10), (10, 1000)))
        return upright if upright == flat else None
