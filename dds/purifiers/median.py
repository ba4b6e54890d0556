import torch.nn.functional as F
from torch import Tensor

from dds.errors import InputError
from dds.noise import Streams
from dds.numbers import whole
from dds.purifiers.base import Transformation
from dds.purifiers.borders import check_reach


class MedianFilter(Transformation):
    """Median of each pixel's neighbourhood, each channel for itself (Xu et al., NDSS 2018); borders mirrored.

    The gradient goes to the pixel that is the median. Memory grows with the square of the window.

    Args:
        window: Side of the neighbourhood in pixels, odd.
    """

    def __init__(self, window: int = 3) -> None:
        super().__init__()
        window = whole("median window", window, least=None)
        if window < 3 or window % 2 == 0:
            raise InputError(f"median window={window}; expected an odd number of pixels: 3, 5, 7, ...")
        self.window = window

    def transform(self, image: Tensor, streams: Streams) -> Tensor:
        """Filter `[B, 3, H, W]` images.

        Raises:
            InputError: If a side is not longer than half the window.
        """
        radius = self.window // 2
        check_reach(image, radius, f"median window={self.window}")
        padded = F.pad(image, (radius,) * 4, mode="reflect")
        around = padded.unfold(2, self.window, 1).unfold(3, self.window, 1)  # (B, 3, H, W, window, window)
        return around.flatten(-2).median(-1).values
