from typing import ClassVar

from torch import Tensor

from dds.controls.common_corruption import CommonCorruption, Strengths
from dds.noise import Streams


class Contrast(CommonCorruption):
    """Lowers the contrast: a share, the strength, of each pixel's distance to its channel's mean is left."""

    strengths: ClassVar[Strengths] = {
        "imagenet-c": (0.4, 0.3, 0.2, 0.1, 0.05),
        "tiny-imagenet-c": (0.4, 0.3, 0.2, 0.1, 0.05),
        "cifar-10-c": (0.75, 0.5, 0.4, 0.3, 0.15),
    }

    def forward(self, image: Tensor, streams: Streams) -> Tensor:
        """Lower the contrast of `[B, 3, H, W]` images."""
        mean = image.mean((2, 3), keepdim=True)  # (B, 3, 1, 1)
        return (mean + self.strength * (image - mean)).clamp(0, 1)
