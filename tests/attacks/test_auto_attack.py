import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork, TinySegmenter

from dds.attacks.apgd import APGD
from dds.attacks.libraries import auto_attack
from dds.attacks.libraries.auto_attack import AutoAttack
from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser
from dds.tasks import Classification, SemanticSegmentation

STREAMS = Streams(0, (0, 1, 2, 3))


def bare(image, streams):
    return image


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """As many steps as these small networks need; `test_against_others` takes all."""
    for name, number in (("_STEPS", 20), ("_QUERIES", 50), ("_EOT", 3)):
        monkeypatch.setattr(auto_attack, name, number)


@pytest.fixture
def task():
    return Classification(TinyClassifier()).requires_grad_(False)


@pytest.fixture
def batch(task, images):
    return {"image": images, "label": task(images).argmax(1)}


@pytest.mark.parametrize(("norm", "version"), [("linf", "standard"), ("l2", "plus")])
def test_breaks_every_image_in_a_large_budget(task, batch, norm, version):
    attack = AutoAttack(0.5 if norm == "linf" else 4, norm, version)
    found = attack.craft(task, batch, [bare], STREAMS)
    offset = (found - batch["image"]).flatten(1)
    assert (task(found).argmax(1) != batch["label"]).all()
    assert (offset.abs().amax(1) if norm == "linf" else offset.norm(dim=1)).max() <= attack.eps + 1e-5
    assert found.min() >= 0
    assert found.max() <= 1


def test_breaks_what_apgd_breaks_where_others_withstand(task, batch):
    batch = {name: value[:2] for name, value in batch.items()}
    eps = 0.01
    while (by_apgd := broken(APGD(eps), task, batch)).sum() < 1:
        eps *= 1.02
    assert by_apgd.sum() == 1
    assert broken(AutoAttack(eps, version="rand"), task, batch)[by_apgd].all()


def broken(attack, task, batch):
    found = attack.craft(task, batch, [bare], Streams(0, tuple(range(len(batch["image"])))))
    return task(found).argmax(1) != batch["label"]


def test_images_that_are_wrong_or_withstand_stay_as_they_are(task, batch):
    batch = {name: value[:2].clone() for name, value in batch.items()}
    batch["label"][0] = (batch["label"][0] + 1) % 4
    found = AutoAttack(1e-6, version="rand").craft(task, batch, [bare], Streams(0, (0, 1)))
    assert torch.equal(found, batch["image"])


def test_an_image_depends_on_the_seed_alone(batch):
    """Also where others of its batch hold out longer, in double precision; see README."""
    task = Classification(TinyClassifier()).double().requires_grad_(False)
    batch = {**batch, "image": batch["image"].double()}
    purifier = DiffusionDenoiser(TinyNoiseNetwork()).double().requires_grad_(False)
    purify = lambda image, streams: purifier(image, purifier.level(50), streams)  # noqa: E731
    alone = {name: value[2:3] for name, value in batch.items()}
    attack = AutoAttack(0.2, version="rand")
    torch.manual_seed(1)
    together = attack.craft(task, batch, [purify], STREAMS)
    after = torch.rand(())
    one = attack.craft(task, alone, [purify], Streams(0, (2,)))
    assert torch.allclose(one, together[2:3], atol=1e-9)
    assert not torch.equal(together[2:3], alone["image"])
    assert not torch.equal(attack.craft(task, alone, [purify], Streams(1, (2,))), one)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(()), after)


def test_calls_are_not_known_beforehand():
    assert AutoAttack().task_calls is None
    assert AutoAttack().purifier_calls is None


def test_other_tasks_are_refused(images):
    task = SemanticSegmentation(TinySegmenter())
    batch = {"image": images, "mask": torch.zeros(4, 8, 8, dtype=torch.long), "label": torch.arange(4)}
    with pytest.raises(InputError, match="classification; SemanticSegmentation"):
        AutoAttack().check(task, batch)


@pytest.mark.parametrize(("version", "classes"), [("standard", 3), ("plus", 3), ("rand", 2)])
def test_too_few_classes(images, version, classes):
    task = Classification(torch.nn.Sequential(TinyClassifier(), torch.nn.Linear(4, classes)))
    batch = {"image": images, "label": torch.zeros(4, dtype=torch.long)}
    with pytest.raises(InputError, match=f"needs {classes + 1} classes; the network knows {classes}"):
        AutoAttack(version=version).check(task, batch)


@pytest.mark.parametrize("arguments", [{"norm": "l1"}, {"version": "custom"}, {"eps": -1}])
def test_bad_arguments(arguments):
    with pytest.raises(InputError):
        AutoAttack(**arguments)
