import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork, TinySegmenter

from dds.attacks import APGD, PGD, Strongest, WorstOf
from dds.attacks.strongest import OBJECTIVES
from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser
from dds.tasks import Classification, SemanticSegmentation

STREAMS = Streams(0, (0, 1, 2, 3))


@pytest.fixture
def purify():
    purifier = DiffusionDenoiser(TinyNoiseNetwork())
    return lambda image, streams: purifier(image, purifier.level(50), streams)


def tasks(images):
    classes, pixels = Classification(TinyClassifier()), SemanticSegmentation(TinySegmenter())
    for task, key in ((classes, "label"), (pixels, "mask")):
        task.requires_grad_(False)
        yield task, {"image": images, key: task(images).argmax(1)}


@pytest.mark.parametrize("calls", [20, 200, 1000, 3000])
@pytest.mark.parametrize("target", ["boxes", *OBJECTIVES])
def test_the_budget_is_kept_and_used(target, calls):
    for attack in (Strongest(calls=calls), Strongest(calls=calls).with_one_draw()):
        members = attack.ensemble(target)
        assert members.purifier_calls == members.task_calls
        assert 0.9 * calls <= members.task_calls.total <= attack.task_calls.total <= calls
        assert attack.purifier_calls == attack.task_calls


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_calls_are_those_that_are_planned_within_the_ball(images, purify, norm, place):
    task, batch = list(tasks(images))[place]
    eps, called = 0.05 if norm == "linf" else 0.5, []
    handle = task.model.register_forward_hook(lambda *arguments: called.append(None))
    attack = Strongest(eps, norm, calls=1000)
    found = attack.craft(task, batch, [purify], STREAMS)
    handle.remove()
    assert len(called) == attack.ensemble(task.target).task_calls.forward
    assert (attack.spent(found, images) <= eps + 1e-5).all()
    assert (task.image_loss(found, batch) > task.image_loss(images, batch)).all()


def test_more_calls_go_to_steps_and_then_to_objectives():
    small, large = (Strongest(calls=calls).ensemble("label") for calls in (200, 1000))
    assert (type(small), small.steps, small.momentum, small.shrinking) == (PGD, 100, 0.75, True)
    assert isinstance(large, WorstOf)
    assert [type(one.objective) for one in large.attacks.values()] == list(OBJECTIVES["label"])
    assert isinstance(Strongest(calls=200).with_one_draw().ensemble("label"), APGD)


def test_a_task_that_it_does_not_know_is_climbed_by_its_own_loss(images):
    task, batch = next(tasks(images))
    task.target = "unheard of"
    found = Strongest(0.05, calls=40).craft(task, batch, [lambda image, streams: image], STREAMS)
    assert (task.image_loss(found, batch) > task.image_loss(images, batch)).all()


def test_an_image_does_not_depend_on_its_neighbours(images, purify):
    task, batch = next(tasks(images))
    together = Strongest(calls=60).craft(task, batch, [purify], STREAMS)
    alone = {name: value[2:3] for name, value in batch.items()}
    one = Strongest(calls=60).craft(task, alone, [purify], Streams(0, (2,)))
    assert torch.allclose(one, together[2:3], atol=1e-5)


@pytest.mark.parametrize("arguments", [{"calls": 19}, {"eps": -1}, {"norm": "l1"}])
def test_bad_arguments(arguments):
    with pytest.raises(InputError):
        Strongest(**arguments)
