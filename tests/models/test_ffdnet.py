import pytest
import torch

from dds.data.files import read_image
from dds.models.ffdnet import FFDNet
from dds.models.weights import pretrained


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 3)])
def test_any_size(size):
    network = FFDNet().eval()
    assert network(torch.rand(2, 3, *size), torch.rand(2)).shape == (2, 3, *size)


def test_each_image_is_told_its_own_sigma(images):
    torch.manual_seed(0)
    network = FFDNet().eval()
    sigmas = torch.tensor([0.0, 0.1, 0.2, 0.3])
    together = network(images, sigmas)
    alone = [network(images[i : i + 1], sigmas[i : i + 1]) for i in range(4)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)
    assert not torch.allclose(together, network(images, sigmas.flip(0)), atol=1e-6)


def test_the_right_sigma_denoises_best(shared_data):
    weights = shared_data / "weights" / "ffdnet_rgb" / "ffdnet_weights_rgb.pth"
    network = pretrained(FFDNet(), str(weights), strip="module.").eval()
    paths = sorted((shared_data / "imagenet250" / "images").rglob("*.*"))[:60:20]
    images = torch.stack([read_image(path)[:, 20:116, 20:116] / 255 for path in paths])
    generator = torch.Generator().manual_seed(0)
    for sigma in (15 / 255, 50 / 255):
        noisy = images + sigma * torch.randn(images.shape, generator=generator)
        told = torch.tensor([0.5, 1, 2]) * sigma
        psnr = [psnr_of(noisy - network(noisy, each.expand(3)), images) for each in told]
        assert psnr[1] > max(psnr[0], psnr[2]) + 1


def psnr_of(image, original):
    return -10 * (image - original).square().mean((1, 2, 3)).log10().mean()
