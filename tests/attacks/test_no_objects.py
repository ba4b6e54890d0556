import pytest
import torch
from conftest import TinyClassifier

from dds.attacks import PGD, Disappearance, FalseAlarm, Patch
from dds.data import Scenes
from dds.errors import InputError
from dds.noise import Streams
from dds.tasks import Classification, ObjectDetection


@pytest.fixture(scope="module")
def task():
    return ObjectDetection("zoo:scenes-detection").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def batch():
    data = Scenes(test_images=2, batch_size=2)
    data.setup("test")
    return next(iter(data.test_dataloader()))


def sure(task, image):
    return int((task(image)[..., 4] >= 0.5).sum())


def attacked(task, batch, optimiser):
    return optimiser.craft(task, batch, [lambda image, _: image], Streams(0, (0, 1)))


def test_it_is_the_loss_of_an_image_without_objects(task, batch):
    empty = {**batch, "classes": torch.full_like(batch["classes"], -1)}
    for objective, sign in ((Disappearance(), -1), (FalseAlarm(), 1)):
        value = objective.bind(task, batch, lambda image, _: image)
        seen = value(batch["image"], None)
        torch.testing.assert_close(seen, sign * task.image_loss(batch["image"], empty))


def test_objects_disappear_and_others_appear(task, batch):
    clean = sure(task, batch["image"])
    gone = attacked(task, batch, PGD("8/255", steps=10, objective=Disappearance()))
    more = attacked(task, batch, PGD("8/255", steps=10, objective=FalseAlarm()))
    assert sure(task, gone) == 0 < clean < sure(task, more)


def test_a_patch_raises_a_false_alarm(task, batch):
    patched = attacked(task, batch, Patch(0.5, steps=20, step_size=0.1, objective=FalseAlarm()))
    assert sure(task, patched) > sure(task, batch["image"])


@pytest.mark.parametrize("objective", [Disappearance(), FalseAlarm()])
def test_other_tasks_are_refused(objective, batch):
    with pytest.raises(InputError, match=r"needs batch\[.boxes.\]; Classification is scored"):
        objective.bind(Classification(TinyClassifier()), batch, lambda image, _: image)
