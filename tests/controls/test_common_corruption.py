import pytest
import torch

from dds.controls import Blur, Brightness, Contrast, GaussianNoise, JPEGCompression
from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers.blur import GaussianBlur
from dds.purifiers.jpeg import JPEG
from dds.purifiers.noise import NoiseOnly

STREAMS = Streams(0, (0,))
CORRUPTIONS = [Blur, Brightness, Contrast, GaussianNoise, JPEGCompression]


@pytest.mark.parametrize(
    ("control", "transformation"),
    [
        (Blur(5), GaussianBlur(6)),
        (Blur(2, "tiny-imagenet-c"), GaussianBlur(0.75)),
        (Blur(5, "cifar-10-c"), GaussianBlur(1)),
        (JPEGCompression(1), JPEG(25)),
        (JPEGCompression(5, "tiny-imagenet-c"), JPEG(25)),
        (JPEGCompression(3, "cifar-10-c"), JPEG(58)),
        (GaussianNoise(3), NoiseOnly(0.18)),
        (GaussianNoise(1, "tiny-imagenet-c"), NoiseOnly(0.04)),
        (GaussianNoise(5, "cifar-10-c"), NoiseOnly(0.1)),
    ],
)
def test_is_the_transformation_of_that_strength(control, transformation):
    image = torch.rand(1, 3, 26, 30)
    assert torch.equal(control(image, STREAMS), transformation(image, None, STREAMS))


@pytest.mark.parametrize("control", CORRUPTIONS)
def test_large_images_are_corrupted_no_less_than_small_ones(control):
    image = torch.rand(1, 3, 26, 30, generator=torch.Generator().manual_seed(0))
    tables = ("cifar-10-c", "tiny-imagenet-c", "imagenet-c")
    errors = [(control(3, table)(image, STREAMS) - image).square().mean() for table in tables]
    assert errors == sorted(errors)


@pytest.mark.parametrize("control", CORRUPTIONS)
def test_unknown_table(control):
    with pytest.raises(InputError, match="table='imagenet'; expected one of imagenet-c, tiny-imagenet-c"):
        control(3, "imagenet")
