import math

import pytest
import torch
import torch.nn.functional as F
from conftest import TinyClassifier, TinySegmenter

from dds.attacks import PGD, MaskedCrossEntropy
from dds.attacks.apgd import APGD, CHECKPOINTS
from dds.errors import InputError
from dds.noise import Streams
from dds.tasks import SemanticSegmentation

LABELS = torch.tensor([0, 1, 2, 3])
STREAMS = Streams(0, (0, 1, 2, 3))
NORMS = pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.7)])


@pytest.fixture
def network():
    return TinyClassifier().requires_grad_(False).double()


@pytest.fixture
def images(images):
    return images.double()


def loss_of(network, rows=slice(None)):
    return lambda image, streams: F.cross_entropy(network(image), LABELS[rows], reduction="none")


def size_of(offset, norm):
    flat = offset.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


def algorithm_1(objective, image, eps, steps, norm, rho):
    """Algorithm 1 of Croce & Hein for one image `[3, H, W]`, every value asked for where it is named.

    The paper writes `k in W` once x(k+1) is known; its two conditions speak of the first w_j steps, so a
    checkpoint is where that many were made, as in the authors' code.
    """

    def project(point):  # on the box, on the ball, and on the box again
        offset = point.clamp(0, 1) - image
        if norm == "linf":
            offset = offset.clamp(-eps, eps)
        elif offset.norm() > eps:
            offset = offset * eps / offset.norm()
        return (image + offset).clamp(0, 1)

    def direction(point):
        gradient = torch.autograd.functional.jacobian(objective, point)
        return gradient.sign() if norm == "linf" else gradient / gradient.norm()

    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    w = [math.ceil(round(p_j * steps, 9)) for p_j in p]

    x, size, eta = [image], 2 * eps, [2 * eps]  # eta[k]: the size that led to x[k]
    x_max, f_max = image, [objective(image)]
    increased, met, last = [], set(), 0
    for k in range(1, steps + 1):
        z = project(x[-1] + size * direction(x[-1]))
        x.append(z if k == 1 else project(x[-1] + 0.75 * (z - x[-1]) + 0.25 * (x[-1] - x[-2])))
        increased.append(objective(x[-1]) > objective(x[-2]))
        if objective(x[-1]) > f_max[-1]:
            x_max = x[-1]
        f_max.append(objective(x_max))
        eta.append(size)
        if k in w:
            condition_1 = sum(increased[last:k]) < rho * (k - last)
            condition_2 = eta[last] == eta[k] and f_max[last] == f_max[k]
            if condition_1 or condition_2:
                met.add((bool(condition_1), bool(condition_2)))
                size /= 2
                x[-1] = x_max
            last = k
    return x_max, met


@NORMS
@pytest.mark.parametrize(("steps", "rho"), [(1, 0.75), (20, 0.75), (50, 0.75), (50, 0.5)])
def test_equals_algorithm_1(network, images, norm, eps, steps, rho):
    attack = APGD(eps, steps, norm, rho, random_start=False)
    got = attack(images, loss_of(network), STREAMS)
    met = set()
    for image, label, found in zip(images, LABELS, got, strict=True):
        expected, conditions = algorithm_1(
            lambda x, label=label: F.cross_entropy(network(x[None])[0], label), image, eps, steps, norm, rho
        )
        assert torch.allclose(found, expected, atol=1e-9)
        met |= conditions
    if rho == 0.5:
        assert {(True, False), (False, True)} <= met  # either condition alone halved a step


def stage_of_sea(objective, right, image, x, eps, steps):
    """A stage of SEA's code for one image: the point of fewest right pixels, of equals the largest objective.

    The code takes the last of equals; they differ where pixels are few.
    """
    period, least, shorter = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    size, before, counter, halved_last = 2 * eps, x, 0, True
    values, top = [-math.inf], objective(x).item()
    best, top_at_check, seen, checks = x, top, [x], []
    for step in range(1, steps + 1):
        gradient = torch.autograd.functional.jacobian(objective, x)
        z = (image + (x + size * gradient.sign() - image).clamp(-eps, eps)).clamp(0, 1)
        share = 0.75 if step > 1 else 1.0
        z = x + share * (z - x) + (1 - share) * (x - before)
        before, x = x, (image + (z - image).clamp(-eps, eps)).clamp(0, 1)
        seen.append(x)
        values.append(objective(x).item())
        if values[-1] > top:
            best, top = x, values[-1]
        counter += 1
        if counter == period:
            rises = sum(values[i] > values[i - 1] for i in range(step - period + 1, step + 1))
            halved_last = rises <= 0.75 * period or (not halved_last and top == top_at_check)
            if halved_last:
                size, x = size / 2, best
            top_at_check, counter, period = top, 0, max(period - shorter, least)
            checks.append(step)
    return min(seen, key=lambda point: (right(point), -objective(point))), checks


@pytest.mark.parametrize("steps", [10, 30, 60])
def test_sea_is_its_authors_code(images, steps):
    task = SemanticSegmentation(TinySegmenter()).requires_grad_(False).double()
    generator = torch.Generator().manual_seed(0)
    mask = task(images).argmax(1)
    mask = mask.where(torch.rand(mask.shape, generator=generator) < 0.7, 255)
    attack = APGD(0.02, steps, objective=MaskedCrossEntropy(), schedule="sea", best="pixel_accuracy")
    got = attack.craft(task, {"image": images, "mask": mask}, [bare], STREAMS)
    noise = 2 * STREAMS.child("restart", 0, "start").uniform(images) - 1
    early = int(0.3 * steps)
    for image, own, at, found in zip(images, mask, noise, got, strict=True):
        value = MaskedCrossEntropy().bind(task, {"image": image[None], "mask": own[None]}, bare)
        objective = lambda x, value=value: value(x[None], STREAMS)[0]  # noqa: E731
        right = lambda x, own=own: (task(x[None]).argmax(1)[0] == own).sum().item()  # noqa: E731
        x = (image + 2 * 0.02 * at).clamp(0, 1)
        for radius, count in ((0.04, early), (0.03, early), (0.02, steps - 2 * early)):
            x = (image + (x - image).clamp(-radius, radius)).clamp(0, 1)
            x, checks = stage_of_sea(objective, right, image, x, radius, count)
            assert [step for step in attack.checkpoints(count) if step <= count] == checks
        torch.testing.assert_close(found, x, rtol=0, atol=1e-9)


def bare(image, streams):
    return image


def test_checkpoints_follow_the_recursion():
    p = [0, 22]
    while p[-1] + max(p[-1] - p[-2] - 3, 6) <= 100:
        p.append(p[-1] + max(p[-1] - p[-2] - 3, 6))
    assert tuple(p[1:]) == CHECKPOINTS


@NORMS
def test_reaches_more_than_pgd_on_average(network, norm, eps):
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(5)).double()
    streams = Streams(0, tuple(range(64)))
    value = loss_of(lambda image: torch.sin(4 * network(10 * image - 5)), torch.arange(64) % 4)  # hilly
    pgd = value(PGD(eps, eps / 4, steps=20, norm=norm)(images, value, streams), streams)
    apgd = value(APGD(eps, steps=20, norm=norm)(images, value, streams), streams)
    assert apgd.mean() > pgd.mean() + 1e-4


@NORMS
@pytest.mark.parametrize("schedule", ["constant", "sea"])
def test_returns_the_best_point_it_saw_within_the_budget(network, images, norm, eps, schedule):
    seen = []

    def value(image, streams):
        seen.append((image.detach(), loss_of(network)(image, streams).detach()))
        return loss_of(network)(image, streams)

    attack = APGD(eps, steps=20, norm=norm, schedule=schedule)
    found = attack(images, value, STREAMS)
    assert (size_of(found - images, norm) <= eps + 1e-12).all()
    assert found.min() >= 0
    assert found.max() <= 1
    last_stage = seen[-attack.stages[-1][1] - 1 :]
    best = torch.stack([values for _, values in last_stage]).amax(0)
    assert torch.equal(loss_of(network)(found, STREAMS), best)


def test_sea_shrinks_the_ball_and_starts_from_the_best_before(network, images):
    seen = []

    def value(image, streams):
        seen.append(image.detach())
        return loss_of(network)(image, streams)

    attack = APGD(0.04, steps=30, schedule="sea")
    assert attack.stages == ((0.08, 9), (0.06, 9), (0.04, 12))
    attack(images, value, STREAMS)
    stages = seen[:10], seen[10:20], seen[20:]
    for (radius, _), points in zip(attack.stages, stages, strict=True):
        reach = torch.stack([size_of(point - images, "linf") for point in points]).amax(0)
        assert reach.tolist() == pytest.approx([radius] * 4)  # all of the ball, and no more
    for before, after, radius in [(stages[0], stages[1], 0.06), (stages[1], stages[2], 0.04)]:
        values = torch.stack([loss_of(network)(point, STREAMS) for point in before])  # (10, B)
        best = torch.stack(before)[values.argmax(0), torch.arange(4)]
        assert torch.allclose(after[0], images + (best - images).clamp(-radius, radius))


@NORMS
@pytest.mark.parametrize("schedule", ["constant", "sea"])
def test_an_image_does_not_depend_on_its_batch(network, images, norm, eps, schedule):
    def noisy(rows):
        clean = loss_of(network, rows)
        return lambda image, streams: clean(image + 0.05 * streams.normal(image), streams)

    attack = APGD(eps, steps=20, norm=norm, restarts=2, eot=2, schedule=schedule)
    together = attack(images, noisy(slice(None)), STREAMS)
    for row in range(4):
        rows = slice(row, row + 1)
        alone = attack(images[rows], noisy(rows), Streams(0, (row,)))
        assert torch.allclose(alone, together[rows], atol=1e-9)


def test_more_restarts_are_never_worse(network, images):
    value = loss_of(network)
    one, many = (value(APGD(steps=5, restarts=r)(images, value, STREAMS), STREAMS) for r in (1, 5))
    assert (many >= one).all()
    assert (many > one).any()


@pytest.mark.parametrize("schedule", ["constant", "sea"])
def test_every_look_is_a_fresh_draw_and_the_best_is_taken_as_drawn(schedule):
    seen = []

    def value(image, streams):  # the draw alone, with a gradient that moves the points
        noise = streams.normal(image[:, 0, 0, 0])
        seen.append((image.detach(), noise))
        return noise + (noise.reshape(-1, 1, 1, 1) * (image - image.detach())).sum((1, 2, 3))

    attack = APGD(0.1, steps=40, rho=0.2, eot=3, schedule=schedule)
    found = attack(torch.full((64, 3, 2, 2), 0.5).double(), value, Streams(0, tuple(range(64))))
    draws = torch.stack([noise for _, noise in seen])  # (looks * 3, B)
    assert len(draws.unique()) == draws.numel()
    looks = attack.stages[-1][1] + 1  # of the last stage
    best = draws[-3 * looks :].reshape(looks, 3, 64).mean(1).argmax(0)  # (B,)
    points = torch.stack([point for point, _ in seen[-3 * looks :: 3]])  # (looks, B, 3, H, W)
    assert torch.equal(found, points[best, torch.arange(64)])


@pytest.mark.parametrize("schedule", ["constant", "sea"])
@pytest.mark.parametrize(("restarts", "eot"), [(1, 1), (3, 2)])
def test_plans_exactly_the_calls_it_makes(network, images, schedule, restarts, eot):
    made = {"forward": 0, "backward": 0}

    def value(image, streams):
        made["forward"] += 1
        made["backward"] += torch.is_grad_enabled()
        return loss_of(network)(image, streams)

    attack = APGD(steps=7, restarts=restarts, eot=eot, schedule=schedule)
    attack(images, value, STREAMS)
    assert (attack.calls.forward, attack.calls.backward) == (made["forward"], made["backward"])


@NORMS
def test_zero_budget_moves_nothing(network, images, norm, eps):
    assert torch.equal(APGD(0, steps=3, norm=norm)(images, loss_of(network), STREAMS), images)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"eps": -0.1}, "eps=-0.1"),
        ({"eps": "eight"}, "8/255"),
        ({"steps": 0}, "steps=0"),
        ({"steps": 3, "schedule": "sea"}, "steps=3.*at least 4"),
        ({"norm": "L2"}, "norm='L2'.*linf, l2"),
        ({"schedule": "cosine"}, "schedule='cosine'.*constant, sea"),
        ({"rho": 1.1}, "rho=1.1"),
        ({"rho": float("nan")}, "rho"),
        ({"restarts": 0}, "restarts"),
        ({"eot": 0}, "eot"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(InputError, match=words):
        APGD(**arguments)
