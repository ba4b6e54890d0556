import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork
from torch import nn

from dds.callbacks.gradient_check import is_derivative
from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser, GaussianBlur, MedianFilter, MultiStepDenoiser, ResizeOnly

STREAMS = Streams(0, (0,))


@pytest.fixture(params=[8, 16])
def image(request):
    return torch.rand(
        1, 3, request.param, request.param, generator=torch.Generator().manual_seed(request.param)
    )


def projected(purifier, level):
    weights = {}

    def function(image):
        if not weights:
            weights[0] = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
        return (purifier(image, level, STREAMS) * weights[0]).flatten(1).sum(1)

    return function


class NoGradient(nn.Module):
    """Any network, run under `no_grad`."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    @torch.no_grad()
    def forward(self, *inputs):
        return self.network(*inputs)


@pytest.mark.parametrize("t", [10, 145, 396])
@pytest.mark.parametrize("kind", [DiffusionDenoiser, lambda network: MultiStepDenoiser(network, steps=3)])
def test_a_purifier_has_its_own_gradient(image, kind, t):
    purifier = kind(TinyNoiseNetwork()).eval()
    assert is_derivative(projected(purifier, purifier.level(t)), image, STREAMS, random=6)


@pytest.mark.parametrize(
    "purifier", [GaussianBlur(), MedianFilter(), ResizeOnly(6)], ids=lambda p: type(p).__name__
)
def test_so_have_transformations(image, purifier):
    assert is_derivative(projected(purifier, None), image, STREAMS, random=6)


def test_many_kinks_are_no_fault():
    """Where neighbours are alike, a short step already makes another pixel the median."""
    ramp = torch.linspace(0.3, 0.7, 64).expand(1, 3, 64, 64)
    purifier = MedianFilter()
    for seed in range(24):
        assert is_derivative(projected(purifier, None), ramp, Streams(seed, (0,)), random=4)


@pytest.mark.parametrize("t", [145, 396])
def test_a_denoiser_that_is_left_out_is_found_out(image, t):
    """The gradient is still there: it goes beside the network, through the noisy image."""
    purifier = DiffusionDenoiser(NoGradient(TinyNoiseNetwork())).eval()
    assert not is_derivative(projected(purifier, purifier.level(t)), image, STREAMS, random=6)


def test_part_of_a_classifier_that_is_left_out_is_found_out(image):
    network = TinyClassifier()
    assert is_derivative(lambda image: network(image)[:, 0], image, STREAMS)
    assert not is_derivative(
        lambda image: network(image)[:, 0] + 30 * network(image.detach())[:, 1], image, STREAMS
    )


def test_so_is_a_tenth(image):
    network = TinyClassifier()
    assert not is_derivative(
        lambda image: network(image)[:, 0] + 0.1 * network(image.detach())[:, 0], image, STREAMS
    )


def test_kinks_and_steps_have_no_derivative_to_speak_of(image):
    assert is_derivative(
        lambda image: (image * 255).round().flatten(1).sum(1) + 0 * image.sum(), image, STREAMS
    )


def test_a_gradient_that_is_not_finite_is_left_to_the_attack(image):
    assert is_derivative(lambda image: (image.flatten(1).sum(1) * 0).sqrt(), image, STREAMS)


@pytest.mark.parametrize(
    "function",
    [
        NoGradient(TinyClassifier()),
        lambda image: torch.ones(1, requires_grad=True),
        lambda image: image.detach().flatten(1).sum(1),
    ],
)
def test_no_gradient_at_all_is_an_error(image, function):
    with pytest.raises(InputError, match=r"has no gradient .*no_grad"):
        is_derivative(function, image, STREAMS)
