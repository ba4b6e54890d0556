"""What holds for every purifier without a noise level."""

import pytest
import torch
from jsonargparse import ArgumentParser

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers.base import Purifier, Transformation
from dds.purifiers.bit_depth import BitDepth
from dds.purifiers.blur import GaussianBlur
from dds.purifiers.dithering import Dithering
from dds.purifiers.jpeg import JPEG
from dds.purifiers.median import MedianFilter
from dds.purifiers.noise import NoiseOnly
from dds.purifiers.resize import ResizeOnly

EXACT = [ResizeOnly(factor=0.6), GaussianBlur(0.7), MedianFilter(3), NoiseOnly(0.02)]
STRAIGHT_THROUGH = [JPEG(50), BitDepth(2), Dithering(1)]
STREAMS = Streams(0, (0, 1, 2, 3))


def name(case):
    return type(case).__name__


every = pytest.mark.parametrize("purifier", EXACT + STRAIGHT_THROUGH, ids=name)


@every
def test_result_of_an_image_hangs_on_no_other(purifier, images):
    together = purifier(images, None, STREAMS)
    alone = torch.cat([purifier(images[i : i + 1], None, Streams(0, (i,))) for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.equal(together, purifier(images, None, STREAMS))
    assert not torch.equal(together, images)


@every
def test_values_stay_in_range_at_the_ends_of_it(purifier):
    rounded = torch.rand(4, 3, 16, 19, generator=torch.Generator().manual_seed(0)).round()
    for image in (rounded, torch.ones_like(rounded), torch.zeros_like(rounded)):
        out = purifier(image, None, STREAMS)
        assert (out.shape, out.dtype) == (image.shape, image.dtype)
        assert 0 <= out.min() <= out.max() <= 1


@pytest.mark.parametrize("purifier", EXACT, ids=name)
def test_gradients_equal_finite_differences(purifier, images):
    image = (0.4 + 0.2 * images[:2, :, :5, :6]).double().requires_grad_()
    assert purifier.differentiable
    assert torch.autograd.gradcheck(lambda x: purifier(x, None, Streams(0, (0, 1))), image)


@pytest.mark.parametrize("purifier", STRAIGHT_THROUGH, ids=name)
def test_gradients_pass_straight_through(purifier, images):
    image, weight = images.clone().requires_grad_(), torch.randn(images.shape)
    out = purifier(image, None, STREAMS)
    (out * weight).sum().backward()
    assert not purifier.differentiable
    assert torch.equal(out, purifier.transform(images, STREAMS))  # the value is exact all the same
    assert torch.equal(image.grad, weight)


@pytest.mark.parametrize("purifier", EXACT[:2], ids=name)
def test_rounding_past_white_does_not_stop_the_gradient(purifier):
    image = torch.ones(1, 3, 24, 31, requires_grad=True)
    purifier(image, None, Streams(0, (0,))).sum().backward()
    assert image.grad.sum().item() == pytest.approx(image.numel(), rel=1e-4)


@every
def test_noise_levels_are_refused(purifier):
    assert not purifier.has_levels
    assert purifier.calls(None) == 0
    with pytest.raises(InputError, match=f"{name(purifier)} has no noise level.*protocol.defences"):
        purifier.level(145)


def test_a_new_transformation_keeps_its_own_gradient(images):
    class Twice(Transformation):
        def transform(self, image, streams):
            return image / 2

    image = images.clone().requires_grad_()
    Twice()(image, None, STREAMS).sum().backward()
    assert (image.grad == 0.5).all()


@pytest.mark.parametrize(
    ("class_path", "settings"),
    [
        ("ResizeOnly", {"factor": 0.5}),
        ("ResizeOnly", {"side": 6}),
        ("JPEG", {"quality": 50}),
        ("GaussianBlur", {"sigma": 0.7}),
        ("MedianFilter", {"window": 3}),
        ("BitDepth", {"bits": 3}),
        ("Dithering", {"bits": 1}),
        ("NoiseOnly", {"sigma": 0.1}),
    ],
)
def test_built_from_yaml(class_path, settings, images):
    parser = ArgumentParser()
    parser.add_subclass_arguments(Purifier, "purifier")
    config = parser.parse_object({"purifier": {"class_path": class_path, "init_args": settings}})
    purifier = parser.instantiate(config).purifier
    assert purifier(images, None, STREAMS).shape == images.shape
