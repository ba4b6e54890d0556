from torch import Tensor

from dds.errors import InputError
from dds.noise import Streams
from dds.numbers import whole
from dds.purifiers.base import Transformation


class BitDepth(Transformation):
    """Rounds each channel to 2^bits equally spaced values (Xu et al., NDSS 2018).

    Args:
        bits: From 1 (0 and 1 only) to 8.
    """

    differentiable = False

    def __init__(self, bits: int = 3) -> None:
        super().__init__()
        bits = whole("bits", bits, least=None)
        if not 1 <= bits <= 8:
            raise InputError(f"bits={bits}; expected 1 to 8 bits for each colour.")
        self.bits = bits

    def transform(self, image: Tensor, streams: Streams) -> Tensor:
        """Round `[B, 3, H, W]` images."""
        return self.quantise(image)

    def quantise(self, values: Tensor) -> Tensor:
        """Return the nearest of the 2^bits values in [0, 1]."""
        steps: int = 2**self.bits - 1
        return (values.clamp(0, 1) * steps).round() / steps
