import numpy as np
import pytest
import torch
from PIL import Image

from dds.data.resizing import check_size, letterbox, resize
from dds.errors import InputError


@pytest.fixture
def image():
    return torch.randint(0, 256, (3, 60, 90), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("size", "shape"),
    [(45, (30, 45)), ((20, 20), (20, 20)), (None, (60, 90)), (90, (60, 90)), (1000, (60, 90))],
)
def test_sizes(image, size, shape):
    assert resize(image, size).shape == (3, *shape)


def test_shrinking_is_what_pillow_calls_bilinear(image):
    pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((45, 30), Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.array(pillow)).permute(2, 0, 1)
    assert (resize(image, 45).int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize(("size", "fitted"), [((40, 40), (27, 40)), ((120, 300), (120, 180))])
def test_letterbox_keeps_the_aspect_and_fills_with_grey(image, size, fitted):
    framed, (scale_x, scale_y) = letterbox(torch.full_like(image, 200), size)
    assert framed.shape == (3, *size)
    inside = torch.zeros(size, dtype=torch.bool)
    inside[: fitted[0], : fitted[1]] = True
    assert framed[:, inside].unique().tolist() == [200]
    assert framed[:, ~inside].unique().tolist() == [114]
    assert (scale_x, scale_y) == (fitted[1] / 90, fitted[0] / 60)


@pytest.mark.parametrize("size", [0, (0, 5), (5, -1)])
def test_sizes_without_pixels_are_refused(size):
    with pytest.raises(InputError, match="at least one pixel"):
        check_size(size)
