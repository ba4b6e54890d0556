import io

import numpy as np
import pytest
import torch
from PIL import Image

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers.jpeg import JPEG


def by_pillow(image, quality):
    pixels = np.rint(image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).transpose(2, 0, 1) / 255


@pytest.mark.parametrize("quality", [1, 50, 75, 100])
def test_equals_pillow(quality):
    image = torch.rand(2, 3, 21, 34)  # no multiples of JPEG's blocks of 16
    out = JPEG(quality)(image, None, Streams(0, (0, 1)))
    expected = np.stack([by_pillow(one, quality) for one in image])
    assert np.allclose(out.numpy(), expected, atol=1e-6)


def test_what_a_denoiser_left_beyond_the_range_is_clipped():
    beyond = torch.tensor([-0.1, 1.1]).reshape(2, 1, 1, 1).expand(2, 3, 16, 16)
    out = JPEG(100)(beyond, None, Streams(0, (0, 1)))
    assert torch.allclose(out, beyond.clamp(0, 1), atol=0.01)


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_bad_quality(quality):
    with pytest.raises(InputError, match=f"quality={quality}; expected 1"):
        JPEG(quality)
