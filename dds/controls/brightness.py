from typing import ClassVar

import torch
from torch import Tensor

from dds.controls.common_corruption import CommonCorruption, Strengths
from dds.noise import Streams


class Brightness(CommonCorruption):
    """Raises the value V = max(R, G, B) of the HSV colour by the strength, up to 1."""

    strengths: ClassVar[Strengths] = {
        "imagenet-c": (0.1, 0.2, 0.3, 0.4, 0.5),
        "tiny-imagenet-c": (0.1, 0.2, 0.3, 0.4, 0.5),
        "cifar-10-c": (0.05, 0.1, 0.15, 0.2, 0.3),
    }

    def forward(self, image: Tensor, streams: Streams) -> Tensor:
        """Brighten `[B, 3, H, W]` images."""
        value = image.amax(1, keepdim=True)  # (B, 1, H, W)
        brighter = (value + self.strength).clamp(max=1)
        scaled = image / value.clamp(min=torch.finfo(image.dtype).tiny) * brighter  # hue, saturation kept
        return torch.where(value > 0, scaled, brighter)  # black has neither and becomes grey
