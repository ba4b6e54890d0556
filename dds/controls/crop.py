import torch
import torch.nn.functional as F
from torch import Tensor

from dds.controls.base import Control
from dds.noise import Streams


class CropAndResize(Control):
    """Cuts a part out of each image, anywhere, and resizes it to the image's size, bilinear.

    Args:
        severity: From 1 to 5: 0.9, 0.8, 0.7, 0.6, 0.5 of each side are kept.
    """

    moves_pixels = True

    def __init__(self, severity: int = 3) -> None:
        super().__init__(severity, (0.9, 0.8, 0.7, 0.6, 0.5))

    def forward(self, image: Tensor, streams: Streams) -> Tensor:
        """Crop and resize `[B, 3, H, W]` images."""
        sides = image.shape[-2:]
        height, width = (max(1, round(length * self.strength)) for length in sides)
        room = torch.tensor([sides[0] - height + 1, sides[1] - width + 1])
        corners = (streams.uniform(torch.empty(len(image), 2)) * room).long().tolist()  # top, left
        parts = zip(image, corners, strict=True)
        cut = torch.stack([one[:, top : top + height, left : left + width] for one, (top, left) in parts])
        return F.interpolate(cut, sides, mode="bilinear").clamp(0, 1)
