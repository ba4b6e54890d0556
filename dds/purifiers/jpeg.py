import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg

from dds.errors import InputError
from dds.noise import Streams
from dds.numbers import whole
from dds.purifiers.base import Transformation


class JPEG(Transformation):
    """JPEG compression as a defence (Guo et al., ICLR 2018): 8 bits, chroma halved (4:2:0).

    Args:
        quality: From 1 to 100.
    """

    differentiable = False

    def __init__(self, quality: int = 75) -> None:
        super().__init__()
        quality = whole("JPEG quality", quality, least=None)
        if not 1 <= quality <= 100:
            raise InputError(f"JPEG quality={quality}; expected 1 (coarsest) to 100. 75 is common.")
        self.quality = quality

    def transform(self, image: Tensor, streams: Streams) -> Tensor:
        """Write `[B, 3, H, W]` images as JPEG and read them again."""
        pixels = (image.clamp(0, 1) * 255).round().to("cpu", torch.uint8)  # CUDA's codec gives other pixels
        return torch.stack([self._code(one) for one in pixels]).to(image) / 255

    def _code(self, pixels: Tensor) -> Tensor:
        decoded: Tensor = decode_jpeg(encode_jpeg(pixels, self.quality), ImageReadMode.RGB)
        return decoded  # (3, H, W)
