import numpy as np
import pytest
import torch
from PIL import Image

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers.resize import ResizeOnly


def by_pillow(plane, between):
    height, width = plane.shape
    small = Image.fromarray(plane.numpy(), "F").resize((between[1], between[0]), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("settings", "between"),
    [
        ({"factor": 0.5}, (9, 14)),
        ({"factor": 0.3}, (5, 8)),
        ({"side": 6}, (6, 9)),
        ({"side": 36}, (36, 54)),
        ({"factor": 0.001}, (1, 1)),
    ],
)
def test_equals_pillow(settings, between):
    image = torch.rand(2, 3, 18, 27)
    out = ResizeOnly(**settings)(image, None, Streams(0, (0, 1)))
    expected = np.stack([[by_pillow(plane, between) for plane in one] for one in image])
    assert np.allclose(out.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"factor": 0.5, "side": 8}, {"factor": 0.0}, {"side": -8}])
def test_bad_settings(settings):
    with pytest.raises(InputError, match="expected one of them, positive"):
        ResizeOnly(**settings)
