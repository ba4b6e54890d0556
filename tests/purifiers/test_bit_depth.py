import numpy as np
import pytest
import torch

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers.bit_depth import BitDepth

STREAMS = Streams(0, (0, 1, 2, 3))


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_takes_the_nearest_level(bits, images):
    levels = np.linspace(0, 1, 2**bits)
    distance = np.abs(images.numpy()[..., None] - levels)
    expected = levels[distance.argmin(-1)]
    assert np.allclose(BitDepth(bits)(images, None, STREAMS).numpy(), expected, atol=1e-6)


def test_eight_bits_keep_eight_bits():
    image = torch.arange(192).reshape(1, 3, 8, 8) / 255
    assert torch.allclose(BitDepth(8)(image, None, Streams(0, (0,))), image, atol=1e-7)


@pytest.mark.parametrize("bits", [0, 9, -1])
def test_bad_bits(bits):
    with pytest.raises(InputError, match=f"bits={bits}; expected 1 to 8"):
        BitDepth(bits)
