from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TinyClassifier, art_classifier

from dds.attacks import MIFGSM, PGD
from dds.attacks.gradient import expected_gradient
from dds.errors import InputError
from dds.noise import Streams

LABELS = torch.tensor([0, 1, 2, 3])
STREAMS = Streams(0, (0, 1, 2, 3))


@pytest.fixture
def network():
    return TinyClassifier().requires_grad_(False)


def loss_of(network):
    return lambda image, streams: F.cross_entropy(network(image), LABELS, reduction="none")


@pytest.mark.parametrize(
    ("norm", "order", "eps", "step"), [("linf", np.inf, 8 / 255, 2 / 255), ("l2", 2, 0.5, 0.1)]
)
def test_equals_adversarial_robustness_toolbox(network, images, norm, order, eps, step):
    from art.attacks.evasion import ProjectedGradientDescentPyTorch

    reference = ProjectedGradientDescentPyTorch(
        art_classifier(network),
        norm=order,
        eps=eps,
        eps_step=step,
        max_iter=10,
        num_random_init=0,
        verbose=False,
    )
    expected = torch.from_numpy(reference.generate(images.numpy(), np.eye(4)[LABELS.numpy()]))
    attack = PGD(eps, step, steps=10, norm=norm, random_start=False)
    got = attack(images, loss_of(network), STREAMS)
    assert (got - images).abs().max() > 0.5 * step / 10
    assert torch.allclose(got, expected, atol=1e-5)


def test_one_step_is_the_sign_of_the_gradient_by_finite_differences(network, images):
    value = loss_of(network.double())
    image = images.double()
    moved = PGD("1/255", "1/255", steps=1, random_start=False)(image, value, STREAMS) - image
    for place in [(0, 0, 0), (1, 3, 4), (2, 7, 7)]:
        offset = torch.zeros_like(image)
        offset[(slice(None), *place)] = 1e-5
        slope = value(image + offset, STREAMS) - value(image - offset, STREAMS)
        free = (image[(slice(None), *place)] - 0.5).abs() < 0.5 - 1 / 255  # not held by the range
        assert torch.equal(moved[(slice(None), *place)].sign()[free], slope.sign()[free])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("random_start", [True, False])
def test_stays_in_the_ball_and_in_range(network, images, norm, random_start):
    eps = 0.1 if norm == "linf" else 0.7
    attack = PGD(eps, eps, steps=3, norm=norm, random_start=random_start)
    adversarial = attack(images, loss_of(network), STREAMS)
    offset = (adversarial - images).flatten(1)
    size = offset.abs().amax(1) if norm == "linf" else offset.norm(dim=1)
    assert (size <= eps + 1e-6).all()
    assert size.max() > 0.5 * eps
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1


def test_starts_fill_the_ball(network):
    image = torch.full((200, 3, 8, 8), 0.5)
    streams = Streams(0, tuple(range(200)))
    linf = PGD(0.1)._start(image, streams) - image
    assert linf.abs().max() > 0.099
    assert linf.std() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    radius = (PGD(0.1, norm="l2")._start(image, streams) - image).flatten(1).norm(dim=1)
    assert radius.max() <= 0.1
    assert radius.mean() == pytest.approx(0.1 * 192 / 193, rel=1e-3)  # uniform in a ball of 192 dimensions


def test_more_restarts_are_never_worse(network, images):
    value = loss_of(network)
    one, many = (PGD(steps=2, restarts=r)(images, value, STREAMS) for r in (1, 5))
    assert (value(many, STREAMS) >= value(one, STREAMS) - 1e-6).all()
    assert (value(many, STREAMS) > value(one, STREAMS)).any()


@pytest.mark.parametrize(
    ("weights", "expected"),
    [("equal", 1 + 3 + 8), ("falling", None), ("holding", None)],
)
def test_draws_count_by_how_near_they_are_to_falling(images, weights, expected):
    slopes, levels = (1.0, 3.0, 8.0), (0.0, 1.0, 5.0)

    def value(image, streams):
        draw = streams.path[-1]
        return levels[draw] + slopes[draw] * (image - images).sum((1, 2, 3))

    gradient = expected_gradient(images, value, STREAMS, 3, weights)
    if expected is None:  # shares by the values in their standard deviations
        apart = (np.array(levels) - np.mean(levels)) / np.std(levels) * (1 if weights == "falling" else -1)
        expected = 3 * (np.exp(apart) / np.exp(apart).sum()) @ slopes
    assert gradient.unique().numpy() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weights", ["falling", "holding"])
def test_equal_draws_count_equally(images, weights):
    def value(image, streams):
        return image.square().sum((1, 2, 3))

    one = expected_gradient(images, value, STREAMS, 2, weights)
    assert torch.allclose(one, expected_gradient(images, value, STREAMS, 2))


def test_eot_averages_gradients_over_fresh_draws(images):
    weights = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    seen = []

    def value(image, streams):
        noise = streams.normal(image)
        seen.append(noise)
        return ((weights + 10 * noise) * image).flatten(1).sum(1)

    attack = PGD(0.01, 0.01, steps=2, random_start=False, eot=50)
    moved = attack(images, value, STREAMS) - images
    assert len({noise.sum().item() for noise in seen}) == 100  # never the same draw
    last = torch.stack(seen[:50]).mean(0) * 10 + weights
    free = (images - 0.5).abs() < 0.49
    first_step = (images + 0.01 * last.sign()).clamp(0, 1) - images
    agreement = (moved.sign() == first_step.sign())[free].float().mean()
    assert agreement > 0.5
    assert attack.calls.backward == 100


@pytest.mark.parametrize(("restarts", "eot"), [(1, 1), (3, 2)])
def test_plans_exactly_the_calls_it_makes(network, images, restarts, eot):
    made = {"forward": 0, "backward": 0}

    def value(image, streams):
        made["forward"] += 1
        made["backward"] += torch.is_grad_enabled()
        return loss_of(network)(image, streams)

    attack = PGD(steps=3, restarts=restarts, eot=eot)
    attack(images, value, STREAMS)
    assert (attack.calls.forward, attack.calls.backward) == (made["forward"], made["backward"])


def test_momentum_alone_is_mi_fgsm(network, images):
    ours = PGD("8/255", "1/255", steps=8, random_start=False, momentum=1)(images, loss_of(network), STREAMS)
    assert torch.equal(ours, MIFGSM("8/255", "1/255", steps=8)(images, loss_of(network), STREAMS))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_steps_shrink_evenly_to_none(norm):
    image, points = torch.full((1, 3, 4, 4), 0.5), []

    def rising(image, streams):
        points.append(image.detach())
        return image.sum((1, 2, 3))

    attack = PGD(0.4, 0.04, steps=4, norm=norm, random_start=False, shrinking=True)
    points.append(attack(image, rising, Streams(0, (0,))))
    order = torch.inf if norm == "linf" else 2
    moved = [torch.linalg.vector_norm(b - a, order).item() for a, b in pairwise(points)]
    assert moved == pytest.approx([0.04, 0.03, 0.02, 0.01], rel=1e-4)


def test_zero_budget_moves_nothing(network, images):
    for norm in ("linf", "l2"):
        assert torch.equal(PGD(0, 0.1, steps=2, norm=norm)(images, loss_of(network), STREAMS), images)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"eps": -0.1}, "eps=-0.1"),
        ({"eps": "eight"}, "8/255"),
        ({"eps": "1/0"}, "eps"),
        ({"eps": float("nan")}, "eps"),
        ({"step_size": -1}, "step_size"),
        ({"steps": 0}, "steps=0"),
        ({"norm": "Linf"}, "norm='Linf'; expected one of linf, l2"),
        ({"restarts": 0}, "restarts"),
        ({"eot": 0}, "eot"),
        ({"momentum": 1.5}, "momentum"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(InputError, match=words):
        PGD(**arguments)


def test_fractions_are_read():
    assert PGD("8/255").eps == pytest.approx(8 / 255)
