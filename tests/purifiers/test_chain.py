import pytest
import torch
from conftest import TinyNoiseNetwork
from jsonargparse import ArgumentParser

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser
from dds.purifiers.base import Purifier
from dds.purifiers.bit_depth import BitDepth
from dds.purifiers.blur import GaussianBlur
from dds.purifiers.chain import Chain
from dds.purifiers.jpeg import JPEG
from dds.purifiers.noise import NoiseOnly
from dds.purifiers.resize import ResizeOnly

STREAMS = Streams(0, (0, 1, 2, 3))


def test_members_act_in_order_at_the_chains_level(images):
    blur, denoiser = GaussianBlur(0.7), DiffusionDenoiser(TinyNoiseNetwork())
    chain = Chain([blur, denoiser])
    level = chain.level({"sigma": 0.25})
    assert level == denoiser.level(145)
    blurred = blur(images, None, STREAMS)
    expected = denoiser(blurred, level, STREAMS.child("member", 1))
    assert torch.equal(chain(images, level, STREAMS), expected)
    assert not torch.allclose(Chain([denoiser, blur])(images, level, STREAMS), expected, atol=1e-3)


def test_equal_members_draw_different_noise():
    grey = torch.full((1, 3, 64, 64), 0.5)
    out = Chain([NoiseOnly(0.05), NoiseOnly(0.05)])(grey, None, Streams(0, (0,)))
    assert out.std().item() == pytest.approx(0.05 * 2**0.5, rel=0.03)  # 0.1 if it were the same noise twice


def test_sums_up_its_members():
    denoiser = DiffusionDenoiser(TinyNoiseNetwork())
    facts = [
        (chain.calls(denoiser.level(10)), chain.has_levels, chain.differentiable)
        for chain in (Chain([denoiser, JPEG(), denoiser]), Chain([ResizeOnly(0.5)]), Chain([denoiser]))
    ]
    assert facts == [(2, True, False), (0, False, True), (1, True, True)]


def test_gradient_is_straight_through_only_where_it_must_be(images):
    image, weight = images.clone().requires_grad_(), torch.randn(images.shape)
    (Chain([BitDepth(3), GaussianBlur(0.7)])(image, None, STREAMS) * weight).sum().backward()
    alone = images.clone().requires_grad_()
    (GaussianBlur(0.7)(alone, None, STREAMS) * weight).sum().backward()
    assert torch.allclose(image.grad, alone.grad, atol=1e-6)


def test_two_members_with_levels_work_at_the_same_one(images):
    denoiser = DiffusionDenoiser(TinyNoiseNetwork())
    chain = Chain([denoiser, JPEG(50), denoiser])
    assert chain.level(50) == denoiser.level(50)
    assert chain(images, chain.level(50), STREAMS).shape == images.shape
    other = DiffusionDenoiser(TinyNoiseNetwork(), scheduler={"beta_schedule": "squaredcos_cap_v2"})
    with pytest.raises(
        InputError, match=r"50 is t50 \(sigma=0\.08.*\) and t50 \(sigma=.*same noise schedule"
    ):
        Chain([denoiser, other]).level(50)


def test_without_a_member_that_has_levels():
    with pytest.raises(InputError, match="Chain has no noise level"):
        Chain([JPEG(), GaussianBlur()]).level(50)


def test_of_nothing():
    with pytest.raises(InputError, match="a Chain of no purifiers"):
        Chain([])


def test_built_from_yaml(images):
    members = [
        {"class_path": "ResizeOnly", "init_args": {"factor": 0.5}},
        {"class_path": "JPEG", "init_args": {"quality": 50}},
    ]
    parser = ArgumentParser()
    parser.add_subclass_arguments(Purifier, "purifier")
    config = parser.parse_object({"purifier": {"class_path": "Chain", "init_args": {"purifiers": members}}})
    chain = parser.instantiate(config).purifier
    expected = JPEG(50)(ResizeOnly(0.5)(images, None, STREAMS), None, STREAMS)
    assert torch.equal(chain(images, None, STREAMS), expected)
