import numpy as np
import pytest
import torch
from art.attacks import EvasionAttack
from conftest import TinyClassifier, TinyNoiseNetwork, TinySegmenter, art_classifier

from dds.attacks.libraries.art_attack import ArtAttack
from dds.attacks.objectives.margin import Margin
from dds.attacks.objectives.purified_distance import PurifiedDistance
from dds.attacks.pgd import PGD
from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser
from dds.tasks import Classification, SemanticSegmentation

STREAMS = Streams(0, (0, 1, 2, 3))
SQUARE = {"attack": "art.attacks.evasion.SquareAttack", "options": {"max_iter": 20}}
HOP = {
    "attack": "art.attacks.evasion.HopSkipJump",
    "norm": "l2",
    "options": {"max_iter": 1, "max_eval": 20, "init_eval": 5},
}


def bare(image, streams):
    return image


@pytest.fixture
def task():
    return Classification(TinyClassifier()).requires_grad_(False)


@pytest.fixture
def batch(task, images):
    return {"image": images, "label": task(images).argmax(1)}


@pytest.fixture
def purify():
    purifier = DiffusionDenoiser(TinyNoiseNetwork()).requires_grad_(False)
    return lambda image, streams: purifier(image, purifier.level(50), streams)


class BrokenAttack(EvasionAttack):
    """Returns what an attack should not."""

    attack_params = ["what"]
    _estimator_requirements = ()

    def __init__(self, estimator, what):
        super().__init__(estimator=estimator)
        self.what = what

    def generate(self, x, y=None):
        return {"nan": x * np.nan, "far": x + 7, "patch": x[:, :, :2]}[self.what]


def broken(what):
    return ArtAttack(f"{__name__}.BrokenAttack", "8/255", options={"what": what})


@pytest.mark.parametrize(("norm", "order", "eps"), [("linf", np.inf, 8 / 255), ("l2", 2, 0.5)])
def test_equals_art_on_the_bare_network(task, batch, norm, order, eps):
    from art.attacks.evasion import ProjectedGradientDescent

    options = {"eps_step": eps / 4, "max_iter": 5}
    reference = ProjectedGradientDescent(
        art_classifier(TinyClassifier()), norm=order, eps=eps, **options, verbose=False
    )
    expected = reference.generate(batch["image"].numpy(), np.eye(4)[batch["label"].numpy()])
    attack = ArtAttack("art.attacks.evasion.ProjectedGradientDescent", eps, norm, options)
    got = attack.craft(task, batch, [bare], STREAMS)
    assert (got - batch["image"]).abs().max() > eps / 50
    assert torch.allclose(got, torch.from_numpy(expected), atol=1e-5)


@pytest.mark.parametrize("name", ["ProjectedGradientDescent", "BasicIterativeMethod"])
def test_gradient_attacks_serve_every_task(images, name):
    task = SemanticSegmentation(TinySegmenter()).requires_grad_(False)
    batch = {"image": images, "mask": task(images).argmax(1)}
    attack = ArtAttack(f"art.attacks.evasion.{name}", options={"eps_step": "2/255", "max_iter": 5})
    expected = PGD(steps=5, random_start=False).craft(task, batch, [bare], STREAMS)
    assert torch.allclose(attack.craft(task, batch, [bare], STREAMS), expected, atol=1e-6)


def test_the_gradient_is_that_of_the_objective(task, batch):
    options = {"eps_step": "2/255", "max_iter": 5}
    attack = ArtAttack("art.attacks.evasion.ProjectedGradientDescent", options=options, objective=Margin())
    expected = PGD(steps=5, random_start=False, objective=Margin()).craft(task, batch, [bare], STREAMS)
    assert torch.allclose(attack.craft(task, batch, [bare], STREAMS), expected, atol=1e-6)


@pytest.mark.parametrize("options", [SQUARE, HOP, {"attack": "art.attacks.evasion.DeepFool"}])
def test_an_image_depends_on_the_seed_alone(task, batch, purify, options):
    attack = ArtAttack(**options, eps=0.3)
    np.random.seed(1)
    together = attack.craft(task, batch, [purify], STREAMS)
    alone = {name: value[2:3] for name, value in batch.items()}
    np.random.seed(2)
    assert torch.equal(attack.craft(task, alone, [purify], Streams(0, (2,))), together[2:3])
    assert not torch.equal(attack.craft(task, alone, [purify], Streams(1, (2,))), together[2:3])


@pytest.mark.parametrize("options", [SQUARE, HOP, {"attack": "art.attacks.evasion.DeepFool", "norm": "l2"}])
def test_attacks_with_and_without_a_budget_stay_in_it(task, batch, options):
    attack = ArtAttack(**options, eps=0.05)
    offset = attack.craft(task, batch, [bare], STREAMS) - batch["image"]
    size = offset.flatten(1).norm(np.inf if attack.norm == "linf" else 2, dim=1)
    assert size.max() <= 0.05 + 1e-6
    assert size.max() > 0.01


def test_square_turns_decisions(task, batch):
    found = ArtAttack(**SQUARE, eps=0.5).craft(task, batch, [bare], STREAMS)
    assert (task(found).argmax(1) != batch["label"]).any()


def test_the_attacker_looks_through_the_purifier(task, batch, purify):
    looks = []

    def watched(image, streams):
        looks.append(streams)
        return purify(image, streams)

    attack = ArtAttack("art.attacks.evasion.FastGradientMethod")
    assert not torch.equal(
        attack.craft(task, batch, [watched], STREAMS), attack.craft(task, batch, [bare], STREAMS)
    )
    assert len(looks) == len(set(looks))  # each look is a draw of its own


def test_what_is_not_finite_leaves_the_image_as_it_is(task, batch):
    assert torch.equal(broken("nan").craft(task, batch, [bare], STREAMS), batch["image"])


def test_what_leaves_the_budget_is_brought_back(task, batch):
    found = broken("far").craft(task, batch, [bare], STREAMS)
    assert torch.allclose(found, (batch["image"] + 8 / 255).clamp(0, 1))


def test_calls_are_not_known_beforehand():
    attack = ArtAttack(**SQUARE)
    assert attack.task_calls is None
    assert attack.purifier_calls is None
    assert not attack.needs_purifier
    assert ArtAttack(**SQUARE, objective=PurifiedDistance()).needs_purifier


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"attack": "art.attacks.evasion.NoSuch"}, "NoSuch"),
        ({"attack": "SquareAttack"}, "expected e.g. art.attacks.evasion.SquareAttack"),
        ({"attack": "torch.nn.Linear"}, "no evasion attack"),
        ({**SQUARE, "norm": "l1"}, "linf, l2"),
        ({**SQUARE, "options": {"steps": 3}}, "steps; expected some of .*max_iter"),
        ({**SQUARE, "options": {"eps": 3}}, "expected some of"),
        ({**SQUARE, "options": {"p_init": "1/0"}}, "p_init"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(InputError, match=words):
        ArtAttack(**arguments)


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (
            ArtAttack("art.attacks.evasion.SquareAttack", options={"p_init": 7}),
            "SquareAttack on Classification",
        ),
        (ArtAttack("art.attacks.evasion.SaliencyMapMethod"), "TargetedLoss"),
        (broken("patch"), r"returns \(1, 3, 2, 8\)"),
    ],
)
def test_what_art_refuses(task, batch, attack, words):
    with pytest.raises(InputError, match=words):
        attack.craft(task, batch, [bare], STREAMS)


def test_attacks_on_classes_refuse_other_tasks(images):
    task = SemanticSegmentation(TinySegmenter())
    batch = {"image": images, "mask": torch.zeros(4, 8, 8, dtype=torch.long)}
    with pytest.raises(InputError, match="SquareAttack on SemanticSegmentation: it needs class prob"):
        ArtAttack(**SQUARE).craft(task, batch, [bare], STREAMS)
