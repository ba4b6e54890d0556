import numpy as np
import pytest
import torch
import yaml
from conftest import TinyNoiseNetwork
from jsonargparse import ArgumentParser
from torch import nn

from dds.data.files import read_image
from dds.errors import InputError
from dds.models.bf_cnn import BFCNN
from dds.models.diffusion.schedule import NoiseLevel
from dds.models.ffdnet import FFDNet
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser
from dds.purifiers.base import Purifier
from dds.purifiers.gaussian import GaussianDenoiser


class Blind(nn.Module):
    def forward(self, noisy):
        return torch.tanh(3 * noisy)


class Conditioned(nn.Module):
    def forward(self, noisy, sigma):
        return torch.tanh(3 * noisy) * sigma.reshape(-1, 1, 1, 1)


def standard_normal(images):
    return torch.randn(images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype)


@pytest.mark.parametrize("t", [0, 145, 999])
@pytest.mark.parametrize("conditioned", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("clamp", [True, False])
def test_equals_the_formulas(images, t, conditioned, residual, clamp):
    purifier = GaussianDenoiser(
        Conditioned() if conditioned else Blind(), conditioned=conditioned, residual=residual, clamp=clamp
    )
    noise = standard_normal(images.double())
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[t]
    sigma = np.sqrt((1 - abar) / abar) / 2
    noisy = images.double().numpy() + sigma * noise.numpy()
    answer = np.tanh(3 * noisy) * (sigma if conditioned else 1)
    expected = noisy - answer if residual else answer
    got = purifier.denoise(images.double(), purifier.level(t), noise)
    assert np.allclose(got.numpy(), np.clip(expected, 0, 1) if clamp else expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("t", [10, 259])
def test_a_diffusion_network_as_a_gaussian_denoiser_is_one_shot_dds(images, t):
    """With f(y, sigma) = sigma eps_theta(sqrt(abar) (2 y - 1), t), both purifiers are the same function."""
    network, diffusion = TinyNoiseNetwork(), DiffusionDenoiser(TinyNoiseNetwork())
    abar = diffusion.schedule.alphas_cumprod[t].float()

    class AsGaussian(nn.Module):
        def forward(self, noisy, sigma):
            x_t = abar.sqrt() * (2 * noisy - 1)
            return sigma.reshape(-1, 1, 1, 1) * network(x_t, torch.full((len(noisy),), t))

    gaussian = GaussianDenoiser(AsGaussian(), conditioned=True, residual=True)
    streams = Streams(0, (0, 1, 2, 3))
    level = gaussian.level(t)
    assert level == diffusion.level(t)
    assert torch.allclose(gaussian(images, level, streams), diffusion(images, level, streams), atol=1e-5)


@pytest.mark.parametrize("conditioned", [True, False])
def test_gradients_equal_finite_differences(images, conditioned):
    network = Conditioned() if conditioned else Blind()
    purifier = GaussianDenoiser(network, conditioned=conditioned, residual=True, clamp=False, size_multiple=4)
    image = images[:2, :, :5, :6].double().requires_grad_()
    noise = standard_normal(image)
    assert torch.autograd.gradcheck(lambda x: purifier.denoise(x, purifier.level(145), noise), image)


def test_sides_are_padded_to_the_multiple_and_cropped_again():
    network = nn.Sequential(nn.PixelUnshuffle(4), nn.PixelShuffle(4))  # the identity, on sides of 4n
    image = torch.rand(2, 3, 17, 22)
    purifier, streams = GaussianDenoiser(network, size_multiple=4, clamp=False), Streams(0, (0, 1))
    level = purifier.level(50)
    assert torch.equal(purifier(image, level, streams), image + level.sigma * streams.normal(image))
    with pytest.raises(RuntimeError):
        GaussianDenoiser(network)(image, level, streams)


def test_level_beyond_the_training():
    purifier = GaussianDenoiser(Blind(), max_sigma=0.3)
    assert purifier.level({"sigma": 0.25}).t == 145
    for given in (259, {"sigma": 0.5}):
        with pytest.raises(InputError, match=r"sigma=0\.5.*sigma <= 0\.3"):
            purifier.level(given)
    assert GaussianDenoiser(Blind()).level(259).sigma > 0.3


@pytest.mark.parametrize("network", [Blind(), Conditioned()])
def test_network_is_called_with_something_else(network):
    told = isinstance(network, Blind)
    with pytest.raises(InputError, match=f"Set conditioned={not told}"):
        GaussianDenoiser(network, conditioned=told)


def test_network_that_does_not_denoise(images):
    purifier = GaussianDenoiser(nn.Conv2d(3, 6, 1))
    with pytest.raises(InputError, match=r"Conv2d returned \(4, 6, 8, 8\) for images of \(4, 3, 8, 8\)"):
        purifier(images, purifier.level(10), Streams(0, (0, 1, 2, 3)))


def test_size_multiple_of_nothing():
    with pytest.raises(InputError, match="size_multiple=0"):
        GaussianDenoiser(Blind(), size_multiple=0)


def build(config, weights):
    """Build the purifier of a shipped config from another weights file."""
    from dds.command_line import CONFIGS

    settings = yaml.safe_load((CONFIGS / "purifier" / config).read_text())["protocol"]["purifier"]
    settings["init_args"]["model"]["init_args"]["weights"] = str(weights)
    parser = ArgumentParser()
    parser.add_subclass_arguments(Purifier, "purifier")
    return parser.instantiate(parser.parse_object({"purifier": settings})).purifier


@pytest.mark.parametrize(
    ("config", "network", "prefix"), [("bf_cnn.yaml", BFCNN, ""), ("ffdnet.yaml", FFDNet, "module.")]
)
def test_shipped_config_takes_any_size_and_is_frozen(tmp_path, config, network, prefix):
    torch.save({prefix + k: v for k, v in network().state_dict().items()}, tmp_path / "weights.pt")
    purifier = build(config, tmp_path / "weights.pt")
    image = torch.rand(2, 3, 15, 18, requires_grad=True)
    purifier(image, purifier.level({"sigma": 75 / 255}), Streams(0, (0, 1))).sum().backward()
    assert image.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in purifier.parameters())


@pytest.mark.parametrize(
    ("config", "weights"),
    [("bf_cnn.yaml", "bf_cnn_color/model.pt"), ("ffdnet.yaml", "ffdnet_rgb/ffdnet_weights_rgb.pth")],
)
def test_shipped_config_denoises_photographs_as_published(shared_data, config, weights):
    """About what FFDNet reaches on photographs, in dB; BF-CNN is as good."""
    purifier = build(config, shared_data / "weights" / weights)
    paths = sorted((shared_data / "imagenet250" / "images").rglob("*.*"))[::45]
    images = torch.stack([read_image(path)[:, 96:160, 96:160] / 255 for path in paths])
    for sigma, published in {15: 33.3, 25: 30.8, 50: 27.6, 75: 25.7}.items():
        level = NoiseLevel(0, sigma / 255)
        purified = purifier(images, level, Streams(0, tuple(range(len(images)))))
        psnr = -10 * (purified - images).square().mean((1, 2, 3)).log10().mean()
        assert psnr == pytest.approx(published, abs=1.5)
