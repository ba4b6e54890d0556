import pytest
import torch
import torch.nn.functional as F
from conftest import TinyClassifier, TinySegmenter

from dds.attacks.objectives.targeted_loss import TargetedLoss
from dds.attacks.pgd import PGD
from dds.errors import InputError
from dds.noise import Streams
from dds.tasks import Classification, SemanticSegmentation

CLASSES = 6


def bare(image, streams):
    return image


def streams(images, seed=0):
    return Streams(seed, tuple(range(images)))


@pytest.fixture
def logits():
    return torch.randn(500, CLASSES, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def classes():
    return torch.randint(0, CLASSES, (500, 3), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("objective", [TargetedLoss(), TargetedLoss(rank=3), TargetedLoss(4)])
def test_no_target_is_the_true_class(logits, classes, objective):
    targets = objective.targets(logits, classes, streams(500))
    assert (targets != classes).all()
    assert targets.min() >= 0
    assert targets.max() < CLASSES


def test_likely_targets_are_the_wrong_classes_by_falling_logit(logits, classes):
    ranked = [TargetedLoss(rank=rank).targets(logits, classes, streams(500)) for rank in range(1, CLASSES)]
    for image in range(20):
        order = [c for c in logits[image, :, 0].argsort(descending=True).tolist() if c != classes[image, 0]]
        assert [targets[image, 0].item() for targets in ranked] == order


def test_a_fixed_class_gives_way_only_where_it_is_true(logits, classes):
    targets, likely = (TargetedLoss(t).targets(logits, classes, streams(500)) for t in (2, "likely"))
    assert torch.equal(targets, torch.where(classes == 2, likely, 2))


def test_random_targets_are_uniform_over_the_wrong_classes(logits, classes):
    targets = TargetedLoss("random").targets(logits, classes, streams(500))
    steps = (targets - classes) % CLASSES
    counts = steps[:, 0].bincount(minlength=CLASSES)
    assert counts[0] == 0
    assert counts[1:].min() > 70  # 100 expected, standard deviation 9
    assert (steps == steps[:, :1]).all()  # one number an image
    assert not torch.equal(TargetedLoss("random").targets(logits, classes, streams(500, seed=1)), targets)


def test_random_targets_stay_the_same_all_through_the_attack(images):
    task = Classification(TinyClassifier())
    batch = {"image": images, "label": torch.arange(4)}
    value = TargetedLoss("random").bind(task, batch, bare)
    values = [value(images, streams(4).child("step", step)) for step in range(5)]
    assert all(torch.equal(one, values[0]) for one in values)


@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_pgd_drives_the_target_past_the_true_class(images, loss):
    task = Classification(TinyClassifier()).requires_grad_(False)
    batch = {"image": images, "label": task(images).argmax(1)}
    objective = TargetedLoss(loss=loss)
    found = PGD(0.5, 0.05, steps=20, objective=objective).craft(task, batch, [bare], streams(4))
    targets = objective.targets(task(images)[..., None], batch["label"][:, None], streams(4))
    logits = task(found)
    assert (logits.gather(1, targets) > logits.gather(1, batch["label"][:, None])).all()
    if loss == "ce":
        assert torch.equal(logits.argmax(1), targets[:, 0])


def test_cross_entropy_of_the_target_over_labelled_pixels(images):
    task = SemanticSegmentation(TinySegmenter())
    mask = torch.randint(0, 5, (4, 8, 8), generator=torch.Generator().manual_seed(0))
    mask[:, :4] = 255
    value = TargetedLoss(3).bind(task, {"image": images, "mask": mask}, bare)(images, streams(4))
    logits = task(images)
    wrong = logits.masked_fill(F.one_hot(mask.clamp(max=4), 5).bool().movedim(-1, 1), -torch.inf)
    targets = torch.where(mask == 3, wrong.argmax(1), 3)
    for image in range(4):
        expected = F.cross_entropy(logits[image, :, 4:].flatten(1).T, targets[image, 4:].flatten())
        assert value[image].item() == pytest.approx(-expected.item(), rel=1e-5)


@pytest.mark.parametrize("options", [{"target": 4}, {"rank": 4}])
def test_more_classes_than_the_network_knows(images, options):
    batch = {"image": images, "label": torch.arange(4)}
    with pytest.raises(InputError, match="below the 4 classes"):
        TargetedLoss(**options).bind(Classification(TinyClassifier()), batch, bare)


@pytest.mark.parametrize("options", [{"target": -1}, {"target": "cat"}, {"rank": 0}, {"loss": "mse"}])
def test_bad_arguments(options):
    with pytest.raises(InputError):
        TargetedLoss(**options)
