import numpy as np
import torch
from scipy.ndimage import rotate

from dds.controls import Rotation
from dds.noise import Streams


def test_equals_scipy_to_either_side():
    image = torch.rand(12, 3, 15, 22, dtype=torch.float64)
    out = Rotation(5)(image, Streams(0, tuple(range(12)))).numpy()
    left, right = (
        rotate(image.numpy(), angle, axes=(2, 3), reshape=False, order=1, mode="reflect")
        for angle in (30, -30)
    )
    is_left = np.isclose(out, left, atol=1e-6).all((1, 2, 3))
    is_right = np.isclose(out, right, atol=1e-6).all((1, 2, 3))
    assert (is_left ^ is_right).all()
    assert 0 < is_left.sum() < 12
