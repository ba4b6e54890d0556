import numpy as np
import pytest
import torch

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers.dithering import Dithering


def pixel_by_pixel(plane, bits):
    """Floyd-Steinberg in reading order, as textbooks have it."""
    plane, steps = plane.astype(np.float64), 2**bits - 1
    height, width = plane.shape
    for y in range(height):
        for x in range(width):
            old = plane[y, x]
            plane[y, x] = np.rint(np.clip(old, 0, 1) * steps) / steps
            for down, right, share in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
                if y + down < height and 0 <= x + right < width:
                    plane[y + down, x + right] += (old - plane[y, x]) * share / 16
    return plane


@pytest.mark.parametrize("bits", [1, 2, 5])
@pytest.mark.parametrize("size", [(11, 14), (14, 5), (1, 9), (9, 1)])
def test_equals_reading_order(bits, size):
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    out = Dithering(bits)(image, None, Streams(0, (0, 1)))
    expected = np.stack([[pixel_by_pixel(plane, bits) for plane in one] for one in image.numpy()])
    assert np.array_equal(out.numpy(), expected)


@pytest.mark.parametrize("grey", [0.1, 0.4, 0.75])
def test_keeps_the_mean_with_two_values(grey):
    out = Dithering(1)(torch.full((1, 3, 48, 48), grey), None, Streams(0, (0,)))
    assert set(out.unique().tolist()) == {0, 1}
    assert out.mean().item() == pytest.approx(grey, abs=0.02)


def test_bad_bits():
    with pytest.raises(InputError, match="bits=9"):
        Dithering(9)
