import numpy as np
import pytest
import torch
from conftest import TinySegmenter, metrics_of
from torchmetrics import MeanAbsolutePercentageError, MeanSquaredError

from dds.data import Scenes
from dds.errors import InputError
from dds.models.cifar10 import CifarResNet
from dds.models.weights import save_self_describing
from dds.models.zoo import resolve
from dds.tasks import DepthEstimation


@pytest.fixture
def task():
    return DepthEstimation(TinySegmenter(1), log_output=True).requires_grad_(False)


def batch_of(images, unknown=0.2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    depth = 0.5 + 12 * torch.rand(len(images), *images.shape[2:], generator=generator)  # some beyond 10 m
    depth[torch.rand(depth.shape, generator=generator) < unknown] = 0
    return {"image": images, "depth": depth, "index": torch.arange(len(images))}


def test_metrics_are_means_over_images_of_torchmetrics_on_known_pixels(task):
    expected, pairs = [], []
    for seed in range(3):
        image = torch.rand(4 - seed, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        batch = batch_of(image, seed=seed)
        pairs.append((task.decide(task(image)), batch))
        for got, true in zip(pairs[-1][0], batch["depth"], strict=True):
            known = (true > 1e-3) & (true < 10)
            rmse = MeanSquaredError(squared=False)(got[known], true[known])
            absrel = MeanAbsolutePercentageError()(got[known], true[known])
            within = np.maximum(got[known] / true[known], true[known] / got[known]) < 1.25
            expected.append([rmse, absrel, within.float().mean()])
    metrics = metrics_of(task, pairs)
    named = dict(zip(["RMSE", "AbsRel", "delta1"], np.mean(expected, axis=0).tolist(), strict=True))
    assert metrics == pytest.approx(named, rel=1e-5)


def test_the_limits_of_known_depth_are_strict():
    batch = {"depth": torch.tensor([[[0.0, 1e-3, 2.0, 10.0]]])}
    statistics = DepthEstimation(TinySegmenter(1)).statistics(torch.tensor([[[5.0, 5.0, 3.0, 5.0]]]), batch)
    assert statistics["rmse"].item() == 1


def test_images_without_known_depth_do_not_count(task, images):
    batch = batch_of(images)
    decision = task.decide(task(images))
    some = metrics_of(task, [(decision[1:], {"depth": batch["depth"][1:]})])
    batch["depth"][0] = 0
    assert metrics_of(task, [(decision, batch)]) == pytest.approx(some)
    assert task.loss(task(images), batch)[0] == 0


def test_eigens_crop(images):
    whole, cropped = DepthEstimation(TinySegmenter(1)), DepthEstimation(TinySegmenter(1), crop=(2, 7, 1, 8))
    batch, decision = batch_of(images), torch.rand(4, 8, 8) * 10
    inner = {"depth": batch["depth"][:, 2:7, 1:8]}
    expected = metrics_of(whole, [(decision[:, 2:7, 1:8], inner)])
    assert metrics_of(cropped, [(decision, batch)]) == pytest.approx(expected, rel=1e-5)


def test_loss_is_the_mean_error_over_known_pixels_in_metres(task, images):
    batch = batch_of(images)
    losses = task.image_loss(images, batch)
    for loss, got, true in zip(losses, task(images), batch["depth"], strict=True):
        known = (true > 1e-3) & (true < 10)
        assert loss == pytest.approx((got[known] - true[known]).abs().mean().item(), rel=1e-5)


def test_pixels_of_unknown_depth_have_no_gradient(images):
    task = DepthEstimation(torch.nn.Conv2d(3, 1, 1))
    batch, image = batch_of(images), images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(task.image_loss(image, batch).sum(), image)
    known = (batch["depth"] > 1e-3) & (batch["depth"] < 10)
    assert torch.equal((gradient != 0).any(1), known)


def test_decisions_are_clamped_and_combined_by_the_median(task):
    decisions = torch.stack([torch.full((1, 2, 2), value) for value in (1.0, 9.0, 2.0)])
    assert torch.equal(task.combine(decisions), decisions[2])
    assert task.decide(torch.tensor([-1.0, 99.0])).tolist() == pytest.approx([1e-3, 10])


def test_render_is_brighter_where_it_is_nearer(task):
    batch = {"depth": torch.tensor([[[1.0, 8.0]]])}
    (shown,) = task.render(torch.tensor([[[1.0, 8.0]]]), batch)
    assert shown.shape == (1, 2, 3)
    assert shown.dtype == np.uint8
    assert shown[0, 0].sum() > shown[0, 1].sum()


@pytest.mark.parametrize(
    ("options", "change", "words"),
    [
        ({}, lambda depth: depth.resize_(4, 4, 8), "one value for each pixel"),
        ({}, lambda depth: depth.fill_(float("nan")), "NaN"),
        ({}, lambda depth: depth.fill_(-1), "negative"),
        ({"crop": (0, 9, 0, 8)}, lambda depth: depth, "does not lie in"),
    ],
)
def test_bad_depth(images, options, change, words):
    task, batch = DepthEstimation(TinySegmenter(1), **options), batch_of(images)
    change(batch["depth"])
    with pytest.raises(InputError, match=words):
        task.check_targets(task(images), batch)


def test_bad_settings_and_networks(images):
    with pytest.raises(InputError, match="max_depth=0"):
        DepthEstimation(TinySegmenter(1), max_depth=0)
    with pytest.raises(InputError, match=r"\[B, 1, h, w\]"):
        DepthEstimation(TinySegmenter(5))(images)


def test_a_bundled_network_says_itself_that_it_tells_logarithms():
    image = next(iter(Scenes(test_images=4).test_dataloader()))["image"]
    metres = DepthEstimation("zoo:scenes-depth").eval()(image)
    assert torch.equal(metres, DepthEstimation("zoo:scenes-depth", log_output=True).eval()(image))
    assert torch.allclose(metres.log(), resolve("zoo:scenes-depth").eval()(image)[:, 0], atol=1e-4)


@pytest.mark.parametrize("said", [{"log_output": True}, {"inverse": True}, {}])
def test_a_file_says_what_its_answers_are(tmp_path, said):
    spec = {"class_path": "dds.models.cifar10.CifarResNet", "init_args": {"depth": 8, "num_classes": 1}}
    path = tmp_path / "net.safetensors"
    save_self_describing(CifarResNet(depth=8, num_classes=1), {**spec, **said}, path)
    task = DepthEstimation(str(path), mean=[0] * 3, std=[1] * 3)
    assert (task.log_output, task.inverse) == ("log_output" in said, "inverse" in said)
