import colorsys

import numpy as np
import pytest
import torch

from dds.controls import Brightness
from dds.noise import Streams


@pytest.mark.parametrize(("severity", "added"), [(1, 0.1), (5, 0.5)])
def test_raises_the_value_of_hsv(severity, added):
    image = torch.rand(1, 3, 6, 7)
    image[..., 0] = 0  # black
    image[..., 1] = 1  # white
    image[0, 1:, :, 2] = 0  # pure red
    out = Brightness(severity)(image, Streams(0, (0,)))[0].flatten(1).T
    for before, after in zip(image[0].flatten(1).T.tolist(), out.tolist(), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        assert np.allclose(after, colorsys.hsv_to_rgb(hue, saturation, min(value + added, 1)), atol=1e-5)
