from typing import ClassVar

from torch import Tensor

from dds.controls.common_corruption import CommonCorruption, Strengths
from dds.noise import Streams
from dds.purifiers.blur import GaussianBlur


class Blur(CommonCorruption):
    """Gaussian blur; the strength is its sigma in pixels."""

    strengths: ClassVar[Strengths] = {
        "imagenet-c": (1, 2, 3, 4, 6),
        "tiny-imagenet-c": (0.5, 0.75, 1, 1.25, 1.5),
        "cifar-10-c": (0.4, 0.6, 0.7, 0.8, 1),
    }

    def forward(self, image: Tensor, streams: Streams) -> Tensor:
        """Blur `[B, 3, H, W]` images.

        Raises:
            InputError: If a side is not longer than 4 sigma.
        """
        return GaussianBlur(self.strength).transform(image, streams)
