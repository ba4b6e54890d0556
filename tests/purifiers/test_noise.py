import numpy as np
import pytest
import torch

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers.noise import NoiseOnly


def test_adds_its_own_streams_noise_and_clamps(images):
    streams = Streams(0, (0, 1, 2, 3))
    expected = np.clip(images.numpy() + 0.25 * streams.normal(images).numpy(), 0, 1)
    assert np.allclose(NoiseOnly(0.25)(images, None, streams).numpy(), expected, atol=1e-6)
    assert not np.allclose(NoiseOnly(0.25)(images, None, streams.child(1)).numpy(), expected, atol=1e-2)


def test_noise_has_the_given_size():
    grey = torch.full((1, 3, 100, 100), 0.5)
    noise = NoiseOnly(0.1)(grey, None, Streams(0, (0,))) - grey
    assert noise.mean().abs() < 0.002
    assert noise.std().item() == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("sigma", [0, -0.1, float("nan")])
def test_bad_sigma(sigma):
    with pytest.raises(InputError, match=f"noise sigma={sigma}"):
        NoiseOnly(sigma)
