from typing import ClassVar

from torch import Tensor

from dds.controls.common_corruption import CommonCorruption, Strengths
from dds.noise import Streams
from dds.purifiers.jpeg import JPEG


class JPEGCompression(CommonCorruption):
    """JPEG compression; the strength is its quality."""

    strengths: ClassVar[Strengths] = {
        "imagenet-c": (25, 18, 15, 10, 7),
        "tiny-imagenet-c": (65, 58, 50, 40, 25),
        "cifar-10-c": (80, 65, 58, 50, 40),
    }

    def forward(self, image: Tensor, streams: Streams) -> Tensor:
        """Compress `[B, 3, H, W]` images."""
        return JPEG(int(self.strength)).transform(image, streams)
