import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dds.controls.base import Control
from dds.noise import Streams


class Rotation(Control):
    """Rotates each image to the left or to the right, bilinear; what comes in at the corners is mirrored.

    Args:
        severity: From 1 to 5: 5, 10, 15, 20, 30 degrees.
    """

    moves_pixels = True

    def __init__(self, severity: int = 3) -> None:
        super().__init__(severity, (5, 10, 15, 20, 30))

    def forward(self, image: Tensor, streams: Streams) -> Tensor:
        """Rotate `[B, 3, H, W]` images about their centre."""
        height, width = image.shape[-2:]
        side = streams.uniform(image[:, 0, 0, 0]).sub(0.5).sign()  # (B,)
        angle = math.radians(self.strength) * side
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        across = torch.stack([cos, -sin * height / width, zero], 1)  # affine_grid's units: half of each side
        down = torch.stack([sin * width / height, cos, zero], 1)
        grid = F.affine_grid(torch.stack([across, down], 1), list(image.shape), align_corners=False)
        return F.grid_sample(image, grid, padding_mode="reflection", align_corners=False).clamp(0, 1)
