import pytest
import torch

from dds.controls import Contrast
from dds.noise import Streams


@pytest.mark.parametrize(("severity", "left"), [(1, 0.4), (5, 0.05)])
def test_keeps_the_mean_and_shrinks_the_deviation(severity, left, images):
    out = Contrast(severity)(images, Streams(0, (0, 1, 2, 3)))
    assert torch.allclose(out.mean((2, 3)), images.mean((2, 3)), atol=1e-6)
    assert torch.allclose(out.std((2, 3)), left * images.std((2, 3)), atol=1e-6)
