"""SegPGD, CosPGD and the losses of SEA against transcriptions of their formulas."""

from functools import partial

import numpy as np
import pytest
import torch
from conftest import TinyClassifier, TinySegmenter
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, softmax

from dds.attacks.apgd import APGD
from dds.attacks.objectives.base import at
from dds.attacks.objectives.cos_pgd import CosPGD
from dds.attacks.objectives.mask_losses import BalancedMaskedCrossEntropy, JensenShannon, MaskedCrossEntropy
from dds.attacks.objectives.seg_pgd import SegPGD
from dds.attacks.pgd import PGD
from dds.errors import InputError
from dds.noise import Streams
from dds.tasks import Classification, DepthEstimation, SemanticSegmentation

STREAMS = Streams(0, (0, 1, 2, 3))
CLASSES = 5


def bare(image, streams):
    return image


@pytest.fixture
def task():
    return SemanticSegmentation(TinySegmenter(CLASSES)).requires_grad_(False).double()


@pytest.fixture
def batch(images, task):
    """Half of the pixels right, a fifth ignored."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, CLASSES, (4, 8, 8), generator=generator)
    image = images.double()
    mask = torch.where(torch.rand(mask.shape, generator=generator) < 0.5, task(image).argmax(1), mask)
    mask[torch.rand(mask.shape, generator=generator) < 0.2] = 255
    return {"image": image, "mask": mask}


def cross_entropy(logits, true):
    return -log_softmax(logits)[true]


def seg_pgd(step, steps):
    share = step / (2 * steps)

    def loss(logits, true, seen, pixels):
        return (1 - share if seen.argmax() == true else share) * cross_entropy(logits, true)

    return loss


def cos_pgd(logits, true, seen, pixels):
    probability, one_hot = softmax(seen), np.eye(CLASSES)[true]
    cosine = probability @ one_hot / np.linalg.norm(probability) / np.linalg.norm(one_hot)
    return cosine * cross_entropy(logits, true)


def masked(logits, true, seen, pixels):
    return float(seen.argmax() == true) * cross_entropy(logits, true)


def balanced(logits, true, seen, pixels):
    return masked(logits, true, seen, pixels) / pixels[true]


def weighted(logits, true, seen, pixels):
    return masked(logits, true, seen, pixels) * (0.1, 0.2, 0.3, 0.15, 0.25)[true]


def js(logits, true, seen, pixels):
    return jensenshannon(softmax(logits), np.eye(CLASSES)[true]) ** 2


FORMULAS = [
    (SegPGD(), 0.0, seg_pgd(0, 10)),
    (SegPGD(), 0.4, seg_pgd(4, 10)),
    (CosPGD(), 0.3, cos_pgd),
    (MaskedCrossEntropy(), 0.3, masked),
    (BalancedMaskedCrossEntropy(), 0.3, balanced),
    (BalancedMaskedCrossEntropy([0.1, 0.2, 0.3, 0.15, 0.25]), 0.3, weighted),
    (JensenShannon(), 0.3, js),
]


def published(formula, task, image, mask, seen):
    """The mean of a formula over the labelled pixels; weights hang on `seen`, through which nothing flows."""
    logits, weighing = task(image[None])[0].numpy(), task(seen[None])[0].numpy()
    places = np.argwhere(mask.numpy() != 255)
    pixels = np.bincount(mask[mask != 255].numpy(), minlength=CLASSES)
    each = [formula(logits[:, r, c], int(mask[r, c]), weighing[:, r, c], pixels) for r, c in places]
    return np.mean(each)


@pytest.mark.parametrize(("objective", "progress", "formula"), FORMULAS)
def test_gradient_equals_finite_differences_of_the_published_formula(
    task, batch, objective, progress, formula
):
    leaf = batch["image"].clone().requires_grad_()
    value = at(objective.bind(task, batch, bare), progress)
    gradient = torch.autograd.grad(value(leaf, STREAMS).sum(), leaf)[0]
    direction = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for image, mask, own, along in zip(batch["image"], batch["mask"], gradient, direction, strict=True):
        ends = [published(formula, task, image + h * along, mask, image) for h in (1e-5, -1e-5)]
        assert (own * along).sum().item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(("objective", "progress", "formula"), FORMULAS)
def test_points_are_compared_by_the_cross_entropy(task, batch, objective, progress, formula):
    value = at(objective.bind(task, batch, bare), progress)
    assert torch.equal(value(batch["image"], STREAMS), task.image_loss(batch["image"], batch))


@pytest.mark.parametrize("objective", [SegPGD(), CosPGD(), BalancedMaskedCrossEntropy(), JensenShannon()])
def test_ignored_pixels_count_in_nothing(task, batch, objective):
    batch["mask"][1:] = 255
    leaf = batch["image"].clone().requires_grad_()
    gradient = torch.autograd.grad(objective.bind(task, batch, bare)(leaf, STREAMS).sum(), leaf)[0]
    assert gradient[0].abs().max() > 0
    assert (gradient[1:] == 0).all()


@pytest.mark.parametrize("objective", [CosPGD(), BalancedMaskedCrossEntropy(), JensenShannon(), SegPGD()])
@pytest.mark.parametrize("scale", [0.0, 1e4])  # all classes equally likely; probabilities of exactly 0 and 1
def test_extreme_logits_give_finite_gradients(task, batch, objective, scale):
    last = task.model.body[2]
    last.weight.mul_(scale)
    last.bias.mul_(scale)
    leaf = batch["image"].clone().requires_grad_()
    value = objective.bind(task, batch, bare)(leaf, STREAMS)
    assert value.isfinite().all()
    assert torch.autograd.grad(value.sum(), leaf)[0].isfinite().all()


@pytest.mark.parametrize("objective", [SegPGD(), CosPGD(), BalancedMaskedCrossEntropy(), JensenShannon()])
@pytest.mark.parametrize("optimiser", [partial(PGD, step_size=0.02), APGD])
def test_attack_turns_pixels_wrong(task, images, objective, optimiser):
    batch = {"image": images.double()}
    batch["mask"] = task(batch["image"]).argmax(1)
    found = optimiser(0.2, steps=20, objective=objective).craft(task, batch, [bare], STREAMS)
    noise = (batch["image"] + 0.2 * (2 * STREAMS.uniform(images) - 1)).clamp(0, 1)
    kept = [(task(image).argmax(1) == batch["mask"]).double().mean() for image in (found, noise)]
    assert kept[0] < kept[1] - 0.1
    assert (found - batch["image"]).abs().max() <= 0.2 + 1e-6


def test_on_depth_cospgd_is_the_loss_weighted_by_the_cosine_over_the_one_channel(images):
    task = DepthEstimation(TinySegmenter(1)).requires_grad_(False).double()
    batch = {"image": images.double(), "depth": 3 * images.double()[:, 0] + 0.1}
    predicted, true = task(batch["image"]).unsqueeze(1).softmax(1), batch["depth"].unsqueeze(1).softmax(1)
    weight = torch.cosine_similarity(predicted, true, dim=1)  # (B, H, W)
    weighted = weight * (task(batch["image"]) - batch["depth"]).abs()
    torch.testing.assert_close(
        CosPGD().bind(task, batch, bare)(batch["image"], STREAMS), weighted.mean((1, 2))
    )


def test_other_tasks_are_refused(images):
    batch = {"image": images, "label": torch.arange(4), "mask": torch.zeros(4, 8, 8, dtype=torch.long)}
    task = Classification(TinyClassifier())
    with pytest.raises(InputError, match=r"SegPGD needs batch\['mask'\]; Classification.*'label'"):
        SegPGD().bind(task, batch, bare)


@pytest.mark.parametrize("weights", [[-1.0], [float("nan")], [float("inf")]])
def test_bad_class_weights(weights):
    with pytest.raises(InputError, match="class_weights"):
        BalancedMaskedCrossEntropy(weights)


def test_class_weights_of_another_number_of_classes(task, batch):
    value = BalancedMaskedCrossEntropy([1.0, 2.0]).bind(task, batch, bare)
    with pytest.raises(InputError, match="2 numbers; expected 5"):
        value(batch["image"], STREAMS)
