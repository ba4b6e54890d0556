import torch
from torch import Tensor

from dds.noise import Streams
from dds.purifiers.bit_depth import BitDepth


class Dithering(BitDepth):
    """Floyd-Steinberg error diffusion to 2^bits values a channel, as a defence (Lo & Patel, ICIP 2021).

    In reading order each pixel is rounded, and its error handed on: 7/16 to the right, 3/16, 5/16 and 1/16
    to the lower left, below and to the lower right (Floyd & Steinberg, 1976). What would leave the image is
    lost.

    Args:
        bits: From 1 (0 and 1 only) to 8.
    """

    def __init__(self, bits: int = 1) -> None:
        super().__init__(bits)

    def transform(self, image: Tensor, streams: Streams) -> Tensor:
        """Dither `[B, 3, H, W]` images.

        A pixel waits for its left and its three upper neighbours only. Those of equal `x + 2 y`, a wave, wait
        for none of each other and are done at once, in W + 2 H steps instead of W H.
        """
        height, width = image.shape[-2:]
        row = torch.arange(height, device=image.device)[:, None].expand(height, width)  # (H, W)
        wave = row * 2 + torch.arange(width, device=image.device)  # (H, W)
        planes = image.flatten(0, 1)  # (3 B, H, W)
        waves = image.new_zeros(width + 2 * height + 1, len(planes), height + 1)
        inside = torch.zeros_like(waves[:, :1], dtype=torch.bool)  # (waves, 1, H + 1)
        waves[wave, :, row] = planes.permute(1, 2, 0)
        inside[wave, :, row] = True
        self._diffuse(waves, inside)
        return waves[wave, :, row].permute(2, 0, 1).reshape(image.shape)

    def _diffuse(self, waves: Tensor, inside: Tensor) -> None:
        """Round the waves `[waves + 3, 3 B, H + 1]` in place; `inside` says which places are pixels."""
        for i in range(len(waves) - 3):
            rounded = self.quantise(waves[i])
            error = (waves[i] - rounded) * inside[i]  # (3 B, H + 1); 0 in the last row
            waves[i] = rounded
            waves[i + 1, :, 1:] += error[:, :-1] * (3 / 16)
            waves[i + 1] += error * (7 / 16)
            waves[i + 2, :, 1:] += error[:, :-1] * (5 / 16)
            waves[i + 3, :, 1:] += error[:, :-1] * (1 / 16)
