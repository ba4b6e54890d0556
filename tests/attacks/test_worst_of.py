import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork, TinySegmenter

from dds.attacks.apgd import APGD
from dds.attacks.base import Attack
from dds.attacks.objectives.base import Calls, Objective
from dds.attacks.objectives.mask_losses import BalancedMaskedCrossEntropy, JensenShannon, MaskedCrossEntropy
from dds.attacks.objectives.purified_distance import PurifiedDistance
from dds.attacks.objectives.task_score import TaskScore
from dds.attacks.pgd import PGD
from dds.attacks.worst_of import WorstOf
from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser
from dds.tasks import Classification, DepthEstimation, SemanticSegmentation

STREAMS = Streams(0, (0, 1, 2, 3))


def bare(image, streams):
    return image


class Brighter(Attack):
    """Brightens each image by an amount of its own."""

    task_calls = purifier_calls = Calls()

    def __init__(self, amounts, eps=1.0, norm="linf"):
        super().__init__(eps)
        self.amounts, self.norm, self.streams = torch.tensor(amounts), norm, None

    def craft(self, task, batch, through, streams):
        self.streams = streams
        return (batch["image"] + self.amounts.reshape(-1, 1, 1, 1)).clamp(0, 1)


class Brightness(Objective):
    def bind(self, task, batch, purify):
        return lambda image, streams: image.mean((1, 2, 3))


@pytest.fixture
def task():
    return Classification(TinyClassifier()).requires_grad_(False)


@pytest.fixture
def batch(images):
    return {"image": images, "label": torch.arange(4)}


def test_keeps_for_each_image_what_hurts_most_and_of_equals_the_first(task):
    batch = {"image": torch.full((4, 3, 2, 2), 0.5), "label": torch.arange(4)}
    attacks = {"a": Brighter([0.1, 0.3, 0.2, 0.5]), "b": Brighter([0.2, 0.1, 0.2, 0.6])}
    found = WorstOf(attacks, Brightness()).craft(task, batch, [bare], STREAMS)
    assert found[:, 0, 0, 0].tolist() == pytest.approx([0.7, 0.8, 0.7, 1.0])
    assert attacks["a"].streams != attacks["b"].streams


def test_an_image_is_broken_if_any_attack_breaks_it(task, batch):
    batch["label"] = task(batch["image"]).argmax(1)
    strong, weak = PGD(0.5, 0.1, steps=5), PGD(0.5, 0, steps=1, random_start=False)
    for attacks in ({"s": strong, "w": weak}, {"w": weak, "s": strong}):
        found = WorstOf(attacks).craft(task, batch, [bare], STREAMS)
        assert (task(found).argmax(1) != batch["label"]).all()


@pytest.mark.parametrize(("strength", "crafted"), [(0.5, ["first"]), (0.0, ["first", "second"])])
def test_what_cannot_do_more_harm_is_left_out(task, batch, strength, crafted):
    batch["label"] = task(batch["image"]).argmax(1)
    asked = []

    class Noted(PGD):
        def craft(self, task, batch, through, streams):
            asked.append(streams.path[-1])
            return super().craft(task, batch, through, streams)

    first, second = (Noted(0.5, size, steps=5, random_start=False) for size in (strength / 5, 0.1))
    attack = WorstOf({"first": first, "second": second})
    found = attack.craft(task, batch, [bare], STREAMS)
    assert asked == crafted
    assert (task(found).argmax(1) != batch["label"]).all()
    assert attack.task_calls == Calls(2 * (5 + 1), 2 * 5)


def test_an_error_without_a_bound_is_never_large_enough(images):
    task = DepthEstimation(torch.nn.Conv2d(3, 1, 1)).requires_grad_(False)
    assert TaskScore().most(task) == float("inf")


def test_sea_is_worse_than_each_of_its_attacks(images):
    task = SemanticSegmentation(TinySegmenter()).requires_grad_(False)
    batch = {"image": images, "mask": task(images).argmax(1)}
    losses = {"b": BalancedMaskedCrossEntropy(), "m": MaskedCrossEntropy(), "j": JensenShannon()}
    sea = {name: APGD(0.2, 10, objective=loss, schedule="sea") for name, loss in losses.items()}
    iou = lambda image: task.statistics(task.decide(task(image)), batch)["iou"]  # noqa: E731
    worst = iou(WorstOf(sea).craft(task, batch, [bare], STREAMS))
    alone = [iou(a.craft(task, batch, [bare], STREAMS.child("attack", name))) for name, a in sea.items()]
    assert torch.equal(worst, torch.stack(alone).amin(0))
    assert worst.max() < 0.9


@pytest.mark.parametrize("attacks", [1, 2])
def test_plans_exactly_the_calls_it_makes(batch, attacks):
    made = {"task": 0, "purifier": 0, "backward": 0}

    class Watched(TinyClassifier):
        def forward(self, image):
            made["task"] += 1
            if image.requires_grad:
                image.register_hook(lambda gradient: made.update(backward=made["backward"] + 1))
            return super().forward(image)

    purifier = DiffusionDenoiser(TinyNoiseNetwork())

    def purify(image, streams):
        made["purifier"] += 1
        return purifier(image, purifier.level(50), streams)

    attack = WorstOf({str(i): PGD(steps=3, eot=2) for i in range(attacks)}, eot=2)
    task = Classification(Watched()).requires_grad_(False)
    attack.craft(task, batch, [purify], STREAMS)
    assert attack.task_calls == Calls(made["task"], made["backward"])
    assert attack.purifier_calls == Calls(made["purifier"], made["backward"])


def test_calls_are_unknown_where_one_attack_does_not_know():
    unknown = Brighter([0.0], eps="8/255")
    unknown.task_calls = unknown.purifier_calls = None
    attack = WorstOf({"pgd": PGD(), "unknown": unknown})
    assert attack.task_calls is None
    assert attack.purifier_calls is None


def test_needs_a_purifier_if_an_attack_does():
    assert WorstOf({"a": PGD(), "b": PGD(objective=PurifiedDistance())}).needs_purifier
    assert not WorstOf({"a": PGD()}).needs_purifier


def test_score_of_an_error_is_as_it_is(images):
    task = DepthEstimation(TinySegmenter(1))
    batch = {"image": images, "depth": torch.ones(4, 8, 8)}
    got = TaskScore().bind(task, batch, bare)(images, STREAMS)
    assert torch.equal(got, (task(images).clamp(1e-3, 10) - 1).square().mean((1, 2)).sqrt())


def test_score_of_a_merit_is_negated(task, batch):
    right = (task(batch["image"]).argmax(1) == batch["label"]).float()
    assert torch.equal(TaskScore().bind(task, batch, bare)(batch["image"], STREAMS), -right)


@pytest.mark.parametrize(
    "attacks", [{}, {"a": PGD("4/255"), "b": PGD("8/255")}, {"a": PGD(0.1), "b": PGD(0.1, norm="l2")}]
)
def test_budgets_must_agree(attacks):
    with pytest.raises(InputError, match="expected one norm and one eps"):
        WorstOf(attacks)
