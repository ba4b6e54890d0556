import numpy as np
import pytest
import torch
from conftest import TinySegmenter, metrics_of, resampled_metrics
from segmentation_models_pytorch import Linknet
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from dds.attacks import BalancedMaskedCrossEntropy, CosPGD, Margin, SegPGD, TaskLoss
from dds.errors import InputError
from dds.tasks import SemanticSegmentation

CLASSES = 5


@pytest.fixture
def task():
    return SemanticSegmentation(TinySegmenter(CLASSES)).requires_grad_(False)


def batch_of(images, classes=CLASSES, ignored=0.2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, classes, (len(images), *images.shape[2:]), generator=generator)
    mask[torch.rand(mask.shape, generator=generator) < ignored] = 255
    return {"image": images, "mask": mask, "index": torch.arange(len(images))}


@pytest.mark.parametrize("classes", [CLASSES, 3])  # 3: two classes occur only in predictions
def test_metrics_equal_torchmetrics_over_the_whole_data_set(task, classes):
    jaccard = MulticlassJaccardIndex(CLASSES, average="macro", ignore_index=255)
    accuracy = MulticlassAccuracy(CLASSES, average="micro", ignore_index=255)
    pairs = []
    for seed in range(3):
        image = torch.rand(4 - seed, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        batch = batch_of(image, classes, seed=seed)
        pairs.append((task.decide(task(image)), batch))
        jaccard.update(pairs[-1][0], batch["mask"])
        accuracy.update(pairs[-1][0], batch["mask"])
    metrics = metrics_of(task, pairs)
    assert metrics["mIoU"] == pytest.approx(jaccard.compute().item(), abs=1e-6)
    assert metrics["pixel_accuracy"] == pytest.approx(accuracy.compute().item(), abs=1e-6)


def test_absent_classes_do_not_count():
    hit, labelled = np.array([[3.0, 0, 0]]), np.array([[3.0, 1, 0]])
    counts = {"intersection": hit, "predicted": hit, "labelled": labelled}
    metrics = resampled_metrics(SemanticSegmentation, counts, np.ones((2, 1)))
    assert metrics["mIoU"].tolist() == [0.5, 0.5]
    assert metrics["pixel_accuracy"].tolist() == [0.75, 0.75]


def test_loss_is_the_mean_over_labelled_pixels_of_each_image(task, images):
    batch = batch_of(images)
    output = task(images)
    losses = task.loss(output, batch)
    for one in range(len(images)):
        kept = batch["mask"][one] != 255
        pixels = output[one, :, kept].T
        expected = torch.nn.functional.cross_entropy(pixels, batch["mask"][one][kept])
        assert losses[one] == pytest.approx(expected.item(), rel=1e-5)


def test_ignored_pixels_have_no_gradient(task, images):
    batch = batch_of(images, ignored=0)
    batch["mask"][:] = 255
    image = images.requires_grad_()
    (gradient,) = torch.autograd.grad(task.loss(task(image), batch).sum(), image)
    assert torch.equal(gradient, torch.zeros_like(image))


def test_votes_are_the_mode_of_each_pixel(task):
    decisions = torch.tensor([[[1, 2]], [[1, 0]], [[3, 0]]])[:, None]  # (K, B, H, W)
    assert task.combine(decisions).tolist() == [[[1, 0]]]


def test_sides_that_the_network_cannot_halve_are_padded():
    torch.manual_seed(0)
    network = Linknet("tu-resnet10t", encoder_weights=None, classes=4).eval()
    with pytest.raises(RuntimeError):
        network(torch.rand(1, 3, 40, 50))
    logits = SemanticSegmentation(network)(torch.rand(1, 3, 40, 50))
    assert logits.shape == (1, 4, 40, 50)


def test_coarse_logits_are_interpolated_to_the_image():
    coarse = torch.nn.Sequential(torch.nn.AvgPool2d(4), TinySegmenter())
    assert SemanticSegmentation(coarse)(torch.rand(2, 3, 16, 24)).shape == (2, 5, 16, 24)


def test_input_size_is_the_tasks_own_business():
    task = SemanticSegmentation(TinySegmenter(), input_size=(32, 32))
    assert task(torch.rand(2, 3, 16, 24)).shape == (2, 5, 16, 24)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda mask: mask.fill_(5), r"5\.\.5"),
        (lambda mask: mask.fill_(-1), r"-1\.\.-1"),
        (lambda mask: mask.resize_(4, 4, 8), "one label for each pixel"),
    ],
)
def test_bad_masks(task, images, change, words):
    batch = batch_of(images)
    change(batch["mask"])
    with pytest.raises(InputError, match=words):
        task.check_targets(task(images), batch)


def test_classifier_given_as_segmenter(images):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5))
    with pytest.raises(InputError, match=r"\[B, channels, h, w\]"):
        SemanticSegmentation(network)(images)


def test_a_class_and_the_ignored_label_are_never_the_same(images):
    task = SemanticSegmentation(TinySegmenter(300))
    with pytest.raises(InputError, match=r"classes 0\.\.299, and 255.*task\.ignore_index.*-1"):
        task.check_targets(task(images), batch_of(images, 300))


@pytest.mark.parametrize("ignored", [-1, -100, 65535])
def test_another_label_is_ignored_alike_everywhere(images, ignored):
    """Loss, statistics and attacks see what they would see of 255."""
    network = TinySegmenter(CLASSES)
    task, other = SemanticSegmentation(network), SemanticSegmentation(network, ignore_index=ignored)
    batch = batch_of(images)
    mask = batch["mask"]
    renamed = {**batch, "mask": torch.where(mask == 255, ignored, mask)}
    output = task(images)
    other.check_targets(other(images), renamed)
    assert torch.equal(task.loss(output, batch), other.loss(output, renamed))
    decision = task.decide(output)
    for name, value in task.statistics(decision, batch).items():
        assert torch.equal(value, other.statistics(decision, renamed)[name])
    for objective in (TaskLoss(), Margin(), SegPGD(), CosPGD(), BalancedMaskedCrossEntropy()):
        values = [
            objective.bind(one, these, lambda image, streams: image)(images, None)
            for one, these in ((task, batch), (other, renamed))
        ]
        assert torch.equal(*values)


def test_class_255_counts_where_another_label_is_ignored(images):
    task = SemanticSegmentation(TinySegmenter(300), ignore_index=-1)
    mask = torch.full((4, 8, 8), 255)
    batch = {"image": images, "mask": mask}
    task.check_targets(task(images), batch)
    assert task.statistics(mask, batch)["iou"].tolist() == [1] * 4
    assert (task.loss(task(images), batch) > 0).all()


def test_one_logit_is_that_of_class_1(images):
    task = SemanticSegmentation(TinySegmenter(1))
    batch = batch_of(images, classes=2)
    logit = task.model(images)[:, 0]
    output = task(images)
    task.check_targets(output, batch)
    assert torch.equal(task.decide(output), (logit > 0).long())
    known = batch["mask"] != 255
    losses = binary_cross_entropy_with_logits(logit, (batch["mask"] == 1).float(), known, reduction="none")
    expected = losses.sum((1, 2)) / known.sum((1, 2))
    torch.testing.assert_close(task.loss(output, batch), expected)
    margin = Margin().bind(task, batch, lambda image, streams: image)(images, None)
    signed = torch.where(batch["mask"] == 1, -logit, logit) * known
    torch.testing.assert_close(margin, signed.sum((1, 2)) / known.sum((1, 2)))
    with pytest.raises(InputError, match=r"span 0\.\.2 but the network knows classes 0\.\.1"):
        task.check_targets(output, batch_of(images, classes=3))
