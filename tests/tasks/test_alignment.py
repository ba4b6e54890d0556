"""Depth without a unit: brought to the true depth before it is compared."""

import numpy as np
import pytest
import torch
from torch import nn

import dds
from dds.attacks import PGD
from dds.errors import InputError
from dds.metrics.depth import aligned
from dds.tasks import DepthEstimation


class Unitless(nn.Module):
    """Tells the grey level, times something and plus something."""

    def __init__(self, scale=7.0, shift=3.0):
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, image):
        return self.scale * image.mean(1, keepdim=True) + self.shift


@pytest.fixture
def depth():
    generator = torch.Generator().manual_seed(0)
    return 0.5 + 8 * torch.rand(2, 6, 8, generator=generator)


@pytest.fixture
def output():
    return torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(1))


def measured(output, depth, **options):
    task = DepthEstimation(Unitless(), **options)
    return task.statistics(task.decide(output), {"depth": depth})


@pytest.mark.parametrize("align", ["scale", "scale_shift"])
@pytest.mark.parametrize("inverse", [False, True])
def test_what_is_right_but_for_its_unit_is_right(depth, align, inverse):
    told = 1 / depth if inverse else depth
    found = measured(40 * told + (align == "scale_shift") * 9, depth, align=align, inverse=inverse)
    assert found["rmse"].max() < 1e-4
    assert found["delta1"].tolist() == [1, 1]
    assert measured(40 * told, depth)["rmse"].min() > 1


@pytest.mark.parametrize("inverse", [False, True])
def test_scale_and_shift_are_those_of_least_squares(output, depth, inverse):
    depth[:, :2] = 0  # unknown
    found = measured(output, depth, align="scale_shift", inverse=inverse)["rmse"]
    for own, true, rmse in zip(output.numpy().astype(float), depth.numpy().astype(float), found, strict=True):
        own, true = own[true > 0], true[true > 0]
        columns = np.stack([own, np.ones_like(own)], axis=1)
        fitted = columns @ np.linalg.lstsq(columns, 1 / true if inverse else true)[0]
        metres = np.clip(1 / np.maximum(fitted, 0.1) if inverse else fitted, 1e-3, 10)
        assert rmse.item() == pytest.approx(np.sqrt(((metres - true) ** 2).mean()), rel=1e-5)


def test_scale_is_the_ratio_of_medians(output, depth):
    known = torch.ones(2, 6, 8, dtype=torch.bool)
    known[:, ::2] = False
    found = aligned(output, depth, known, "scale") / output
    odd = (slice(None), slice(1, None, 2))
    ratio = depth[odd].flatten(1).median(1).values / output[odd].flatten(1).median(1).values
    assert torch.allclose(found, ratio[:, None, None].expand_as(found))


@pytest.mark.parametrize("align", ["scale", "scale_shift"])
@pytest.mark.parametrize("inverse", [False, True])
def test_no_attack_gains_by_the_unit(output, depth, align, inverse):
    task = DepthEstimation(Unitless(), align=align, inverse=inverse)
    output = output.double().requires_grad_()
    loss = task.loss(output, {"depth": depth.double()})
    (gradient,) = torch.autograd.grad(loss.sum(), output)
    assert gradient.abs().max() > 1e-3
    assert (gradient * output).sum((1, 2)).abs().max() < 1e-9  # along its own scale
    assert torch.allclose(task.loss(5 * output, {"depth": depth.double()}), loss)
    if align == "scale":
        return
    assert gradient.sum((1, 2)).abs().max() < 1e-9
    assert torch.allclose(task.loss(5 * output + 2, {"depth": depth.double()}), loss)
    step = 1e-7 * torch.randn(output.shape, generator=torch.Generator().manual_seed(2)).double()
    difference = task.loss(output + step, {"depth": depth.double()}) - task.loss(
        output - step, {"depth": depth.double()}
    )
    assert torch.allclose(difference / 2, (gradient * step).sum((1, 2)), rtol=1e-3, atol=1e-12)


def test_the_gradient_of_a_median_holds_for_more_than_its_one_pixel():
    """Half of the pixels grow, so the median passes many of them, and the others are scaled down."""
    shuffled = torch.randperm(4096, generator=torch.Generator().manual_seed(3))
    output = torch.linspace(1, 2, 4096, dtype=torch.double)[shuffled].reshape(1, 64, 64)
    known, step = torch.ones(1, 64, 64, dtype=torch.bool), torch.zeros_like(output)
    step[..., ::2] = 4e-2

    def other(output):
        return aligned(output, torch.ones_like(output), known, "scale")[..., 1::2].mean()

    (gradient,) = torch.autograd.grad(other(output.requires_grad_()), output)
    difference = (other(output + step) - other(output - step)) / 2
    assert difference.item() == pytest.approx(-0.5 * 4e-2 / 1.5, rel=0.1)
    assert (gradient * step).sum().item() == pytest.approx(difference.item(), rel=0.15)


@pytest.mark.parametrize("align", ["scale", "scale_shift"])
def test_pixels_without_an_answer_are_the_worst_and_move_no_other(output, depth, align):
    whole = measured(output, depth, align=align)
    depth[:, 0, 0] = 0
    broken = output.clone()
    broken[:, 0, 0] = torch.nan
    left = measured(broken, depth, align=align)
    assert torch.isfinite(left["rmse"]).all()
    depth[:, 0, 0] = 9.0
    assert (measured(broken, depth, align=align)["rmse"] > left["rmse"]).all()
    assert torch.isfinite(whole["rmse"]).all()


@pytest.mark.parametrize("align", ["scale", "scale_shift"])
def test_what_says_nothing_is_measured_as_such(depth, align):
    constant = measured(torch.zeros(2, 6, 8), depth, align=align)
    assert torch.isfinite(constant["rmse"]).all()
    if align == "scale_shift":
        assert torch.allclose(constant["rmse"], depth.flatten(1).std(1, correction=0))
    nothing = measured(torch.rand(2, 6, 8), torch.zeros(2, 6, 8), align=align)
    assert nothing["known"].tolist() == [0, 0]
    assert torch.isfinite(nothing["rmse"]).all()


def test_a_network_without_a_unit_must_be_aligned():
    network = Unitless()
    network.relative = True
    with pytest.raises(InputError, match="Set task.align=scale_shift"):
        DepthEstimation(network)
    with pytest.raises(InputError, match="align='median'; expected one of none, scale, scale_shift"):
        DepthEstimation(network, align="median")
    assert not DepthEstimation(network, align="scale").votes
    assert DepthEstimation(Unitless()).votes


def test_it_is_attacked_and_measured(tmp_path):
    images = [(image, 1 + 3 * image.mean(0)) for image in torch.rand(2, 3, 16, 16)]
    task = DepthEstimation(Unitless(), align="scale_shift")
    protocol = dds.AttackAndPurify(attacks={"pgd": PGD(steps=2)}, attacker_sees=["none"])
    results = dds.evaluate(task, images, protocol, folder=tmp_path / "run", quiet=True, logger=False)
    clean, attacked = (entry["metrics"]["RMSE"]["value"] for entry in results.summary["conditions"])
    assert clean < 1e-3 < attacked
