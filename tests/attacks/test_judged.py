"""What an attack chooses among points by: the task's score or the objective."""

import pytest
import torch
from conftest import TinyClassifier, TinySegmenter

from dds.attacks import (
    APGD,
    PGD,
    FeatureDistance,
    MaskedCrossEntropy,
    PurifiedDistance,
    TargetedLoss,
    TaskLoss,
)
from dds.attacks.objectives.base import Calls, average, judge
from dds.attacks.objectives.judged import Judged
from dds.errors import InputError
from dds.models.features import outputs_of
from dds.noise import Streams
from dds.tasks import Classification, DepthEstimation, SemanticSegmentation

STREAMS = Streams(0, (0, 1, 2, 3))


def bare(image, streams):
    return image


def segmentation(images):
    task = SemanticSegmentation(TinySegmenter()).requires_grad_(False).double()
    generator = torch.Generator().manual_seed(0)
    mask = task(images.double()).argmax(1)
    mask = mask.where(torch.rand(mask.shape, generator=generator) < 0.7, 255)
    return task, {"image": images.double(), "mask": mask}


def depth(images):
    task = DepthEstimation(TinySegmenter(1)).requires_grad_(False).double()
    return task, {"image": images.double(), "depth": task(images.double()).abs() + 1}


def classification(images):
    task = Classification(TinyClassifier()).requires_grad_(False).double()
    return task, {"image": images.double(), "label": torch.tensor([0, 1, 2, 3])}


TASKS = {"segmentation": segmentation, "depth": depth, "classification": classification}


def scores_and_losses(task, outputs, batch):
    """Harm and loss of each of K answers, `[K, B]`."""
    sign = 1 if task.lower_is_better else -1
    harm = [sign * task.statistics(task.decide(output), batch)[task.score] for output in outputs]
    return torch.stack(harm), torch.stack([task.loss(output, batch) for output in outputs])


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("best", [None, "score", "value"])
@pytest.mark.parametrize("schedule", ["constant", "sea"])
def test_the_answer_is_the_best_point_seen(images, kind, best, schedule):
    task, batch = TASKS[kind](images)
    attack = APGD(0.1, 20, best=best, schedule=schedule)
    with outputs_of(task) as outputs:
        found = attack.craft(task, batch, [bare], STREAMS)
    harm, loss = scores_and_losses(task, outputs[-attack.stages[-1][1] - 1 :], batch)
    done, reached = scores_and_losses(task, [task(found)], batch)
    if best == "value" or (best is None and kind == "classification"):
        assert torch.equal(reached[0], loss.amax(0))
        return
    assert torch.equal(done[0], harm.amax(0))
    equals = loss.where(harm == harm.amax(0), -torch.inf)
    assert torch.equal(reached[0], equals.amax(0))  # of equal harm, the larger value


def test_the_answer_may_be_the_point_of_least_pixel_accuracy(images):
    task, batch = segmentation(images)
    attack = APGD(0.1, 20, objective=MaskedCrossEntropy(), best="pixel_accuracy")
    with outputs_of(task) as outputs:
        found = attack.craft(task, batch, [bare], STREAMS)
    right = torch.stack([(output.argmax(1) == batch["mask"]).sum((1, 2)) for output in outputs])
    assert torch.equal((task(found).argmax(1) == batch["mask"]).sum((1, 2)), right.amin(0))


def test_restarts_are_chosen_from_by_the_score(images):
    task, batch = segmentation(images)
    attack = PGD(0.2, 0.2, 1, restarts=8)
    with outputs_of(task) as outputs:
        found = attack.craft(task, batch, [bare], STREAMS)
    harm, loss = scores_and_losses(task, outputs[1::2], batch)  # a step and a look at each restart
    done, reached = scores_and_losses(task, [task(found)], batch)
    assert torch.equal(done[0], harm.amax(0))
    assert (reached[0] < loss.amax(0)).any()  # which the loss alone would have chosen


@pytest.mark.parametrize(
    "objective", [FeatureDistance("body.0", distance="l2"), PurifiedDistance(), TargetedLoss(0)]
)
@pytest.mark.parametrize("best", [None, "score"])
def test_objectives_about_something_else_choose_by_their_value_unless_told(images, objective, best):
    task, batch = segmentation(images)
    value = PGD(objective=objective, best=best)._bind(task, batch, bare)
    assert isinstance(value, Judged) == (best == "score")


def test_labels_are_not_used_where_the_objective_needs_none(images):
    task, batch = segmentation(images)
    objective = FeatureDistance("body.0", distance="l2")
    attack = APGD(0.1, 5, objective=objective, restarts=2)
    found = attack.craft(task, {"image": batch["image"]}, [bare], STREAMS)
    assert torch.equal(found, attack.craft(task, batch, [bare], STREAMS))


def test_a_score_that_the_objective_does_not_know_is_refused(images):
    task, batch = segmentation(images)
    with pytest.raises(InputError, match="best=score.*Set best=value"):
        PGD(objective=PurifiedDistance(), best="score").check(task, batch)
    with pytest.raises(InputError, match="pixel_accuracy is for segmentation; DepthEstimation"):
        PGD(best="pixel_accuracy").check(*depth(images))
    with pytest.raises(InputError, match="best='loss'; expected one of score, pixel_accuracy, value"):
        PGD(best="loss")


def test_through_several_purifiers_harm_is_averaged_like_the_value(images):
    task, batch = segmentation(images)
    darker, noisy = (
        (lambda image, streams: image * 0.5),
        (lambda image, streams: image + streams.normal(image)),
    )
    values = [Judged(TaskLoss().bind(task, batch, purify), task, batch) for purify in (darker, noisy)]
    value, harm = judge(average(values), batch["image"], STREAMS)
    outputs = [task(purify(batch["image"], STREAMS)) for purify in (darker, noisy)]
    expected, loss = scores_and_losses(task, outputs, batch)
    assert torch.equal(harm, expected.to(harm).mean(0))
    assert torch.equal(value, loss.mean(0))


@pytest.mark.parametrize(
    "attack", [PGD(steps=2, restarts=2, eot=2), APGD(steps=4, restarts=2, schedule="sea")]
)
def test_the_score_costs_no_calls(images, attack):
    task, batch = segmentation(images)
    with outputs_of(task.model) as outputs:
        attack.craft(task, batch, [bare], STREAMS)
    assert attack.task_calls == Calls(len(outputs), sum(output.requires_grad for output in outputs))
