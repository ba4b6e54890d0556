import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers.median import MedianFilter


@pytest.mark.parametrize("window", [3, 5, 9])
def test_equals_scipy(window):
    image = torch.rand(2, 3, 9, 14)
    out = MedianFilter(window)(image, None, Streams(0, (0, 1)))
    assert np.array_equal(out.numpy(), median_filter(image.numpy(), (1, 1, window, window), mode="mirror"))


@pytest.mark.parametrize("window", [0, 1, 4, -3])
def test_bad_window(window):
    with pytest.raises(InputError, match=f"window={window}; expected an odd"):
        MedianFilter(window)


def test_image_smaller_than_the_window(images):
    with pytest.raises(InputError, match=r"8x8 are too small for median window=17"):
        MedianFilter(17)(images, None, Streams(0, (0, 1, 2, 3)))
