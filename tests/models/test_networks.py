import pytest
import torch

from dds.errors import InputError
from dds.models.cifar10 import CifarDenoiser, CifarResNet
from dds.models.padding import pad_to_multiple


def test_padding_mirrors_and_keeps_the_image():
    image = torch.rand(2, 3, 10, 13)
    padded = pad_to_multiple(image, 8)
    assert padded.shape == (2, 3, 16, 16)
    assert torch.equal(padded[..., :10, :13], image)
    assert torch.equal(padded[..., 10, :13], image[..., 8, :])


def test_padding_leaves_fitting_images_alone():
    image = torch.rand(1, 3, 16, 8)
    assert pad_to_multiple(image, 8) is image


def test_padding_refuses_what_cannot_be_mirrored():
    with pytest.raises(InputError, match="4x4"):
        pad_to_multiple(torch.rand(1, 3, 4, 4), 32)


def test_cifar_resnet_has_its_depth():
    network = CifarResNet(20)
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 20
    with pytest.raises(ValueError, match="6n"):
        CifarResNet(21)


def test_cifar_denoiser_is_as_good_as_published(shared_data):
    """PSNR of the published network on real test images; figures from the shared data's notes."""
    import numpy as np

    from dds.models import pretrained
    from dds.noise import Streams
    from dds.purifiers import DiffusionDenoiser

    network = pretrained(CifarDenoiser(), str(shared_data / "weights/cifar10_ddpm/ddpm.pth"))
    purifier = DiffusionDenoiser(network)
    pixels = np.load(shared_data / "cifar10/test_lossless200.npz")["images"]
    image = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    streams = Streams(0, tuple(range(len(image))))
    for t, expected in {20: 34.0, 50: 29.2, 100: 25.6, 200: 21.9}.items():
        with torch.no_grad():
            purified = purifier(image, purifier.level(t), streams)
        psnr = -10 * torch.log10((purified - image).square().mean((1, 2, 3)))
        assert psnr.mean().item() == pytest.approx(expected, abs=0.25)
