from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TinyClassifier, TinySegmenter

from dds.attacks.objectives.margin import DLR, Margin, targeted_dlr
from dds.errors import InputError
from dds.noise import Streams
from dds.tasks import Classification, DepthEstimation, SemanticSegmentation

STREAMS = Streams(0, (0, 1, 2, 3))
LABELS = torch.tensor([0, 1, 2, 3])


def bare(image, streams):
    return image


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Fixed(torch.nn.Module):
    """Gives the same logits for any image."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, image):
        return self.logits


def value_of(objective, logits, labels):
    batch = {"image": torch.zeros(len(logits), 3, 2, 2), "label": labels}
    return objective.bind(Classification(Fixed(logits)), batch, bare)(batch["image"], STREAMS)


def test_margin_by_hand():
    logits = torch.tensor([[3.0, 1.0, 2.5], [0.0, 4.0, 1.0], [1.0, 1.0, 0.0]])
    assert value_of(Margin(), logits, torch.tensor([0, 2, 1])).tolist() == [-0.5, 3.0, 0.0]


@pytest.fixture
def autoattack():
    return pytest.importorskip("pyautoattack.autopgd_base")


def test_dlr_equals_the_code_of_autoattack(autoattack):
    logits, labels = noise(50, 10), torch.arange(50) % 10
    expected = autoattack.APGDAttack.dlr_loss(None, logits, labels)
    assert torch.allclose(value_of(DLR(), logits, labels), expected)


def test_targeted_dlr_equals_the_code_of_autoattack(autoattack):
    logits, labels, targets = noise(50, 10), torch.arange(50) % 10, (torch.arange(50) * 3 + 1) % 10
    theirs = autoattack.APGDAttack_targeted.dlr_loss_targeted
    expected = theirs(SimpleNamespace(y_target=targets), logits, labels)
    got = targeted_dlr(logits[..., None], labels[:, None], targets[:, None])[:, 0]
    assert torch.allclose(got, expected)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_dlr_does_not_change_with_the_scale_of_the_logits(factor):
    logits, labels = noise(20, 5), torch.arange(20) % 5
    assert torch.allclose(value_of(DLR(), factor * logits, labels), value_of(DLR(), logits, labels))


@pytest.mark.parametrize("objective", [Margin(), DLR()])
def test_gradient_equals_finite_differences(objective):
    logits = noise(4, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: value_of(objective, z, LABELS), logits)


def test_equal_logits_stay_finite():
    logits = torch.zeros(4, 6, requires_grad=True)
    value = value_of(DLR(), logits, LABELS)
    assert value.tolist() == [0, 0, 0, 0]
    assert torch.autograd.grad(value.sum(), logits)[0].isfinite().all()


def test_for_segmentation_it_is_the_mean_over_labelled_pixels(images):
    task = SemanticSegmentation(TinySegmenter())
    mask = torch.randint(0, 5, (4, 8, 8), generator=torch.Generator().manual_seed(0))
    mask[:, ::3] = 255
    value = Margin().bind(task, {"image": images, "mask": mask}, bare)(images, STREAMS)
    for logits, own, got in zip(task(images).detach().numpy(), mask.numpy(), value, strict=True):
        each = []
        for row, column in np.argwhere(own != 255):
            true = own[row, column]
            each.append(np.delete(logits[:, row, column], true).max() - logits[true, row, column])
        assert got.item() == pytest.approx(np.mean(each), rel=1e-5)


def test_class_255_of_an_image_is_a_class_like_others():
    assert value_of(Margin(), torch.eye(300)[:1], torch.tensor([255])).tolist() == [1]


def test_it_is_bound_to_what_the_attacker_sees(images):
    task = Classification(TinyClassifier())
    dark = Margin().bind(task, {"image": images, "label": LABELS}, lambda image, streams: image / 2)
    plain = Margin().bind(task, {"image": images, "label": LABELS}, bare)
    assert torch.equal(dark(images, STREAMS), plain(images / 2, STREAMS))


def test_other_tasks_are_refused_though_the_batch_holds_labels(images):
    batch = {"image": images, "label": LABELS, "depth": torch.ones(4, 8, 8)}
    with pytest.raises(InputError, match=r"Margin needs.*'label'.*'mask'.*DepthEstimation.*'depth'"):
        Margin().bind(DepthEstimation(TinySegmenter(1)), batch, bare)


def test_too_few_classes():
    with pytest.raises(InputError, match="DLR compares 3 logits.* 2 classes"):
        value_of(DLR(), noise(1, 2), torch.tensor([0]))
    with pytest.raises(InputError, match="compares 4 logits.* 3 classes"):
        targeted_dlr(noise(1, 3, 1), torch.tensor([[0]]), torch.tensor([[1]]))
