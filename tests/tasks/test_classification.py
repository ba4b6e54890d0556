import pytest
import timm
import torch
from conftest import TinyClassifier, metrics_of
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.functional.classification import multiclass_accuracy

from dds.attacks import Margin
from dds.errors import InputError
from dds.tasks import Classification

LABELS = torch.tensor([0, 1, 2, 3])


def test_accuracy_equals_torchmetrics(images):
    task = Classification(TinyClassifier())
    logits = task(images)
    expected = multiclass_accuracy(logits, LABELS, 4, average="micro")
    metrics = metrics_of(task, [(task.decide(logits), {"label": LABELS})])
    assert metrics["accuracy"] == pytest.approx(expected.item())


def test_normalisation_is_part_of_the_forward(images):
    network, mean, std = TinyClassifier(), [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    normalised = (images - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1)
    assert torch.allclose(Classification(network, mean, std)(images), network(normalised))
    assert torch.allclose(Classification(network)(images), network(images))


def test_timm_networks_bring_their_own_normalisation():
    task = Classification(timm.create_model("resnet10t", num_classes=4))
    assert task.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_resizing_is_differentiable():
    task = Classification(TinyClassifier(), input_size=(16, 16))
    image = torch.rand(2, 3, 24, 20, requires_grad=True)
    task.loss(task(image), {"label": LABELS[:2]}).sum().backward()
    assert (image.grad != 0).float().mean() > 0.9


def test_votes_are_the_mode():
    assert Classification(TinyClassifier()).combine(torch.tensor([[1, 0], [1, 2], [3, 2]])).tolist() == [1, 2]


def test_captions_tell_right_from_wrong():
    captions = Classification(TinyClassifier()).render(torch.tensor([0, 3]), {"label": torch.tensor([0, 1])})
    assert captions == ["class 0", "class 3 (wrong)"]


@pytest.mark.parametrize(
    ("options", "words"), [({"mean": [0.5, 0.5]}, "mean has 2"), ({"std": [0.0, 1, 1]}, "positive")]
)
def test_bad_normalisation(options, words):
    with pytest.raises(InputError, match=words):
        Classification(TinyClassifier(), **options)


@pytest.mark.parametrize("label", [-1, 4])
def test_bad_labels(images, label):
    task = Classification(TinyClassifier())
    with pytest.raises(InputError, match="classes 0..3"):
        task.check_targets(task(images), {"label": torch.full((4,), label)})
    with pytest.raises(InputError, match="logits"):
        task.check_targets(images, {"label": LABELS})


@pytest.mark.parametrize("squeeze", [nn.Identity(), nn.Flatten(0)])
def test_one_logit_is_that_of_class_1(images, squeeze):
    torch.manual_seed(0)
    task = Classification(nn.Sequential(nn.Flatten(), nn.Linear(192, 1), squeeze)).requires_grad_(False)
    batch = {"image": images, "label": torch.tensor([0, 1, 1, 0])}
    logit, output = task.model(images).flatten(), task(images)
    task.check_targets(output, batch)
    assert set((logit > 0).tolist()) == {True, False}
    assert torch.equal(task.decide(output), (logit > 0).long())
    expected = binary_cross_entropy_with_logits(logit, batch["label"].float(), reduction="none")
    torch.testing.assert_close(task.loss(output, batch), expected)
    margin = Margin().bind(task, batch, lambda image, streams: image)(images, None)
    torch.testing.assert_close(margin, torch.where(batch["label"] == 1, -logit, logit))
    with pytest.raises(InputError, match=r"labels span 0\.\.2 but the network knows classes 0\.\.1"):
        task.check_targets(output, {"label": torch.tensor([0, 2])})
