import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork
from torch import nn

from dds.attacks import (
    PGD,
    FeatureDistance,
    LowFrequency,
    PredictedNoise,
    PurifiedDistance,
    PurifiedTwice,
    TaskLoss,
    WorstOf,
)
from dds.attacks.objectives.base import Calls
from dds.callbacks import AttackAndPurify
from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser
from dds.tasks import Classification

STREAMS = Streams(0, (0, 1, 2, 3))


@pytest.fixture
def task():
    return Classification(TinyClassifier()).requires_grad_(False)


@pytest.fixture
def batch(images):
    return {"image": images, "label": torch.tensor([0, 1, 2, 3])}


@pytest.fixture
def purify():
    purifier = DiffusionDenoiser(TinyNoiseNetwork())
    return lambda image, streams: purifier(image, purifier.level(50), streams)


def bare(image, streams):
    return image


def test_task_loss_is_the_loss_of_what_the_attacker_sees(task, batch, purify, images):
    value = TaskLoss().bind(task, batch, purify)
    seen = task(purify(images, STREAMS))
    expected = torch.nn.functional.cross_entropy(seen, batch["label"], reduction="none")
    assert torch.allclose(value(images, STREAMS), expected)


def test_purified_distance_by_its_formula(task, batch, purify, images):
    value = PurifiedDistance().bind(task, batch, purify)
    moved = (images + 0.1).clamp(0, 1)
    purified, reference = purify(moved, STREAMS), purify(images, STREAMS)
    expected = ((purified - reference) ** 2).flatten(1).mean(1)
    assert torch.allclose(value(moved, STREAMS), expected)


def test_purified_twice_by_its_formula_and_calls(task, batch, purify, images):
    once = purify(images, STREAMS)
    again = purify(once, STREAMS.child("again"))
    value = PurifiedTwice().bind(task, batch, purify)
    assert torch.allclose(value(images, STREAMS), ((again - once) ** 2).flatten(1).mean(1))
    attack = PGD(steps=3, eot=2, objective=PurifiedTwice())
    assert (attack.task_calls, attack.purifier_calls) == (Calls(), Calls(12, 12))


def test_purified_distance_grows_on_noise_that_the_attack_did_not_see(task, batch, purify, images):
    value = PurifiedDistance().bind(task, batch, purify)
    assert (value(images, STREAMS) == 0).all()
    adversarial = PGD(steps=10, eot=2)(images, value, STREAMS)
    fresh = STREAMS.child("fresh")
    clean = purify(images, fresh)
    far = (purify(adversarial, fresh) - clean).square().mean()
    random = (images + (2 * fresh.uniform(images) - 1) * 8 / 255).clamp(0, 1)
    assert far > 1.5 * (purify(random, fresh) - clean).square().mean() > 0


@pytest.mark.parametrize("t", [10, 145, 396])
def test_predicted_noise_follows_from_the_images(task, batch, images, t):
    """Against the network's own output: the factor is sqrt((1 - abar) / abar), and images count in [0, 1]."""
    network = TinyNoiseNetwork()
    purifier = DiffusionDenoiser(network, clamp=False)
    level, noise = purifier.level(t), STREAMS.normal(images)
    alpha_cumprod = purifier.schedule.alphas_cumprod[t].float()
    factor = ((1 - alpha_cumprod) / alpha_cumprod).sqrt() / 2
    errors = {}
    for name, image in (("clean", images), ("moved", (images + 0.1).clamp(0, 1))):
        noisy = alpha_cumprod.sqrt() * (2 * image - 1) + (1 - alpha_cumprod).sqrt() * noise
        errors[name] = factor * (network(noisy, torch.full((4,), t)) - noise)
    moved = (images + 0.1).clamp(0, 1)
    for reference, expected in (("added", errors["moved"]), ("clean", errors["moved"] - errors["clean"])):
        value = PredictedNoise(reference).bind(
            task, batch, lambda image, streams: purifier(image, level, streams)
        )
        torch.testing.assert_close(
            value(moved, STREAMS), expected.square().mean((1, 2, 3)), rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize(
    "objective",
    [
        PurifiedDistance(),
        PredictedNoise(),
        PredictedNoise("clean"),
        PurifiedTwice(),
        FeatureDistance("body.1", reference="purified"),
    ],
)
def test_gradients_of_attacks_on_the_purifier_are_those_of_finite_differences(objective, images):
    task, purifier = Classification(TinyClassifier().double()), DiffusionDenoiser(TinyNoiseNetwork().double())
    image = images[:1].double() * 0.5 + 0.25  # nothing is clamped
    task, streams = task.double().requires_grad_(False), Streams(0, (0,))
    view = lambda image, streams: purifier(image, purifier.level(10), streams)  # noqa: E731
    value = objective.bind(task, {"image": image}, view)
    moved = (image + 0.02 * streams.child("moved").normal(image)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: value(x, streams), moved, fast_mode=True)


def test_features_of_another_network_stand_in_for_the_tasks(task, batch, purify, images):
    torch.manual_seed(7)
    other = Classification(TinyClassifier(), mean=[0.5] * 3, std=[0.5] * 3).requires_grad_(False)
    objective = FeatureDistance("body.1", "l2", reference="purified", of=other)
    task.model.register_forward_hook(lambda *arguments: pytest.fail("the task was called"))
    moved = (images + 0.1).clamp(0, 1)
    features = [other.model.body[:2](2 * purify(image, STREAMS) - 1).flatten(1) for image in (moved, images)]
    value = objective.bind(task, batch, purify)(moved, STREAMS)
    assert torch.allclose(value, (features[0] - features[1]).square().mean(1), atol=1e-6)
    attacks = {"low": WorstOf({"a": LowFrequency(PGD(objective=objective))})}
    protocol = AttackAndPurify(DiffusionDenoiser(TinyNoiseNetwork()), [50], attacks=attacks)
    assert protocol.surrogates == {"stand-in of a of low": other}


def test_features_of_the_purified_image(task, batch, purify, images):
    value = FeatureDistance("body.1", "l2", reference="purified").bind(task, batch, purify)
    moved = (images + 0.1).clamp(0, 1)
    features = [task.model.body[:2](purify(image, STREAMS)).flatten(1) for image in (moved, images)]
    assert torch.allclose(value(moved, STREAMS), (features[0] - features[1]).square().mean(1))
    assert value(images, STREAMS).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("distance", "at_clean"), [("cosine", -1.0), ("l2", 0.0)])
@pytest.mark.parametrize("pooled", [False, True])
def test_feature_distance_is_least_at_the_clean_image(task, batch, images, distance, at_clean, pooled):
    value = FeatureDistance("body.1", distance, pooled).bind(task, batch, bare)
    assert value(images, STREAMS).tolist() == pytest.approx([at_clean] * 4, abs=1e-6)
    adversarial = PGD(steps=5)(images, value, STREAMS)
    assert (value(adversarial, STREAMS) > at_clean + 1e-4).all()


def test_feature_distance_by_its_formula(task, batch, images):
    value = FeatureDistance("body.1", "l2", pooled=True).bind(task, batch, bare)
    moved = (images + 0.1).clamp(0, 1)
    features = [task.model.body[:2](image).mean((2, 3)) for image in (moved, images)]
    assert torch.allclose(value(moved, STREAMS), (features[0] - features[1]).square().mean(1))


def test_the_default_features_are_those_that_the_task_compares(batch, images):
    named = Classification(TinyClassifier(), features="body.3").requires_grad_(False)
    moved = (images + 0.1).clamp(0, 1)
    value = FeatureDistance().bind(named, batch, bare)(moved, STREAMS)
    (_, clean), (_, seen) = named.look(images), named.look(moved)
    assert torch.allclose(value, -(seen * clean).sum(1))


def test_of_several_outputs_the_last_is_taken(batch, images):
    class Pyramid(TinyClassifier):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Identity()

        def forward(self, image):
            return super().forward(self.encoder([image, 2 * image])[-1])

    task = Classification(Pyramid()).requires_grad_(False)
    value = FeatureDistance(distance="l2").bind(task, batch, bare)(images + 0.1, STREAMS)
    assert torch.allclose(value, torch.full((4,), 0.04))


def test_without_known_features_a_layer_must_be_named(task, batch):
    with pytest.raises(InputError, match="no features of TinyClassifier; name a layer"):
        FeatureDistance().bind(task, batch, bare)


def test_unknown_layer_lists_some(task, batch):
    with pytest.raises(InputError, match=r"no layer 'head'; it has body, body\.0"):
        FeatureDistance("head").bind(task, batch, bare)


def test_no_hook_is_left(task, batch, images):
    FeatureDistance("body.1").bind(task, batch, bare)(images, STREAMS)
    assert not task.model.body[1]._forward_hooks
