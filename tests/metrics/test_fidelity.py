import pytest
import torch
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from dds.errors import InputError
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


def test_an_image_that_is_the_same_does_not_hang_on_the_others(pair):
    """Rounding would leave 1 - 2e-5 of flat images, but only where an image beside them has changed."""
    shown, original = (image.clone() for image in pair)
    shown[0] = original[0] = 0.3
    alone, among = fidelity(shown[:1], original[:1]), fidelity(shown, original)
    for name in ("psnr", "ssim"):
        assert among[name][0] == alone[name][0]
        assert among[name][1] < alone[name][0]


def test_perturbation_norms(pair):
    attacked, original = pair
    got = perturbation(attacked, original)
    assert got["linf"][0] == (attacked[0] - original[0]).abs().max()
    assert got["l2"][0].item() == pytest.approx(
        (attacked[0] - original[0]).square().sum().sqrt().item(), rel=1e-6
    )


def test_images_that_are_too_small_for_ssim_are_refused():
    for size in ((5, 16), (16, 5)):
        with pytest.raises(
            InputError, match=f"images are {size[0]}x{size[1]}; expected more than 5 pixels a side"
        ):
            fidelity(torch.rand(2, 3, *size), torch.rand(2, 3, *size))
    assert fidelity(torch.rand(2, 3, 6, 6), torch.rand(2, 3, 6, 6))["ssim"].isfinite().all()
