import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers.blur import GaussianBlur


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 3.3])
def test_equals_scipy(sigma):
    image = torch.rand(2, 3, 17, 22, dtype=torch.float64)
    out = GaussianBlur(sigma)(image, None, Streams(0, (0, 1)))
    expected = gaussian_filter(image.numpy(), sigma, axes=(2, 3), mode="mirror", truncate=4.0)
    assert np.allclose(out.numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("sigma", [0, -1, float("nan")])
def test_bad_sigma(sigma):
    with pytest.raises(InputError, match=f"blur sigma={sigma}"):
        GaussianBlur(sigma)


def test_image_smaller_than_the_blur(images):
    with pytest.raises(InputError, match=r"8x8 are too small for blur sigma=2, .* at least 9 pixels"):
        GaussianBlur(2)(images, None, Streams(0, (0, 1, 2, 3)))
