from typing import ClassVar

from torch import Tensor

from dds.controls.common_corruption import CommonCorruption, Strengths
from dds.noise import Streams
from dds.purifiers.noise import NoiseOnly


class GaussianNoise(CommonCorruption):
    """Gaussian noise; the strength is its standard deviation in [0, 1] pixel units."""

    strengths: ClassVar[Strengths] = {
        "imagenet-c": (0.08, 0.12, 0.18, 0.26, 0.38),
        "tiny-imagenet-c": (0.04, 0.08, 0.12, 0.15, 0.18),
        "cifar-10-c": (0.04, 0.06, 0.08, 0.09, 0.1),
    }

    def forward(self, image: Tensor, streams: Streams) -> Tensor:
        """Add noise to `[B, 3, H, W]` images and clamp them."""
        return NoiseOnly(self.strength).transform(image, streams)
