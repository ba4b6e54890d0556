import numpy as np
import pytest
import torch
from conftest import TinyClassifier, metrics_of, resampled_metrics
from torchmetrics.classification import MultilabelAccuracy, MultilabelAveragePrecision

from dds.errors import InputError
from dds.tasks import MultiLabelClassification

CLASSES = 4


@pytest.fixture
def task():
    return MultiLabelClassification(TinyClassifier()).requires_grad_(False)


def random_answers(seed, count=12, unknown=0.2):
    generator = torch.Generator().manual_seed(seed)
    probability = torch.randint(1, 8, (count, CLASSES), generator=generator) / 8  # with ties
    labels = (torch.rand(count, CLASSES, generator=generator) < 0.4).float()
    labels[torch.rand(count, CLASSES, generator=generator) < unknown] = -1
    return probability, {"labels": labels}


@pytest.mark.parametrize("unknown", [0, 0.2])
def test_metrics_equal_torchmetrics(task, unknown):
    precision = MultilabelAveragePrecision(CLASSES, average="macro", ignore_index=-1)
    accuracy = MultilabelAccuracy(CLASSES, average="micro", ignore_index=-1)
    pairs = [random_answers(seed, count, unknown) for seed, count in enumerate((12, 5, 9))]
    for probability, batch in pairs:
        precision.update(probability, batch["labels"].long())
        accuracy.update(probability, batch["labels"].long())
    metrics = metrics_of(task, pairs)
    assert metrics["mAP"] == pytest.approx(precision.compute().item(), abs=1e-6)
    assert metrics["accuracy"] == pytest.approx(accuracy.compute().item(), abs=1e-6)


def test_resampled_metrics_are_those_of_repeated_images(task):
    probability, batch = random_answers(0, 20)
    statistics = {name: value.numpy() for name, value in task.statistics(probability, batch).items()}
    weights = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20), size=3)
    metrics = resampled_metrics(task, statistics, weights)
    for row, weight in enumerate(weights):
        times = torch.from_numpy(weight)
        repeated = {"labels": batch["labels"].repeat_interleave(times, dim=0)}
        expected = metrics_of(task, [(probability.repeat_interleave(times, dim=0), repeated)])
        assert {name: value[row] for name, value in metrics.items()} == pytest.approx(expected)


def test_classes_and_images_of_which_nothing_is_known_do_not_count(task):
    probability, batch = random_answers(0)
    some = metrics_of(task, [(probability, batch)])
    batch["labels"][:, 0], without = -1, batch["labels"][:, 1:]
    expected = metrics_of(task, [(probability[:, 1:], {"labels": without})])
    assert metrics_of(task, [(probability, batch)]) == pytest.approx(expected) != some
    nobody = (torch.rand(3, CLASSES), {"labels": torch.full((3, CLASSES), -1.0)})
    assert metrics_of(task, [(probability, batch), nobody]) == pytest.approx(expected)
    assert all(np.isnan(value) for value in metrics_of(task, [nobody]).values())


def test_classes_that_no_image_shows_do_not_count(task):
    probability, batch = random_answers(0, unknown=0)
    batch["labels"][:, 0] = 0
    expected = metrics_of(task, [(probability[:, 1:], {"labels": batch["labels"][:, 1:]})])["mAP"]
    assert metrics_of(task, [(probability, batch)])["mAP"] == pytest.approx(expected)


def test_loss_is_the_mean_over_the_known_labels_of_each_image(task, images):
    _, batch = random_answers(1, len(images))
    batch["labels"][0] = -1
    output = task(images)
    losses = task.loss(output, batch)
    assert losses[0] == 0
    for one in range(1, len(images)):
        known = batch["labels"][one] >= 0
        expected = torch.nn.functional.binary_cross_entropy(
            task.decide(output)[one, known], batch["labels"][one, known]
        )
        assert losses[one] == pytest.approx(expected.item(), rel=1e-5)


def test_unknown_labels_have_no_gradient(task, images):
    _, batch = random_answers(1, len(images))
    output = task(images).requires_grad_()
    (gradient,) = torch.autograd.grad(task.loss(output, batch).sum(), output)
    assert torch.equal(gradient == 0, batch["labels"] < 0)


def test_draws_are_averaged(task):
    assert task.combine(torch.tensor([[[0.2, 0.9]], [[0.6, 0.5]]])).tolist() == [pytest.approx([0.4, 0.7])]


def test_captions_mark_wrong_answers(task):
    decision = torch.tensor([[0.9, 0.8, 0.7, 0.1], [0.1, 0.2, 0.3, 0.4]])
    labels = torch.tensor([[1.0, 0, -1, 1], [1, 1, 1, 1]])
    assert task.render(decision, {"labels": labels}) == ["0 1 (wrong) 2", "nothing"]


def test_another_number_of_classes(task, images):
    with pytest.raises(InputError, match=r"\(4, 4\); expected logits \(4, 7\)"):
        task.check_targets(task(images), {"labels": torch.zeros(4, 7)})
