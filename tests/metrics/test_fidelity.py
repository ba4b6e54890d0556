import pytest
import torch
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from dds.metrics import fidelity, perturbation


def make_pair(height, width):
    generator = torch.Generator().manual_seed(0)
    original = torch.rand(3, 3, height, width, generator=generator)
    return (original + 0.1 * torch.randn(original.shape, generator=generator)).clamp(0, 1), original


@pytest.fixture
def pair():
    return make_pair(16, 16)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (11, 64), (65, 7)])
def test_each_image_equals_torchmetrics(height, width):
    pair = make_pair(height, width)
    got = fidelity(*pair)
    for i, (shown, original) in enumerate(zip(*pair, strict=True)):
        psnr = PeakSignalNoiseRatio(data_range=1.0)(shown[None], original[None])
        ssim = StructuralSimilarityIndexMeasure(data_range=1.0)(shown[None], original[None])
        assert got["psnr"][i] == pytest.approx(psnr.item(), rel=1e-5)
        assert got["ssim"][i] == pytest.approx(ssim.item(), rel=1e-5)


def test_identical_images_have_finite_psnr(pair):
    assert (fidelity(pair[0], pair[0])["psnr"] == 100).all()


def test_perturbation_norms(pair):
    attacked, original = pair
    got = perturbation(attacked, original)
    assert got["linf"][0] == (attacked[0] - original[0]).abs().max()
    assert got["l2"][0].item() == pytest.approx(
        (attacked[0] - original[0]).square().sum().sqrt().item(), rel=1e-6
    )
