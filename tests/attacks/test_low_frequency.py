import pytest
import torch
from attacks.test_judged import TASKS, classification, segmentation
from attacks.test_progress import Recorder
from conftest import TinyClassifier

from dds.attacks import (
    APGD,
    MIFGSM,
    PGD,
    SIA,
    ArtAttack,
    LowFrequency,
    Patch,
    PurifiedDistance,
    Square,
    StAdv,
)
from dds.attacks.low_frequency import enlarger, straight_through
from dds.attacks.objectives.base import Calls
from dds.attacks.objectives.judged import Judged
from dds.attacks.objectives.pullback import Pullback
from dds.errors import InputError
from dds.models.features import outputs_of
from dds.noise import Streams
from dds.tasks import Classification

STREAMS = Streams(0, (0, 1, 2, 3))


def bare(image, streams):
    return image


def slopes(like):
    return torch.randn(like[:1].shape, generator=torch.Generator().manual_seed(5)).to(like)


def linear(image, streams):
    return (image * slopes(image)).sum((1, 2, 3))


def length(offset, norm):
    return torch.linalg.vector_norm(offset.flatten(1), torch.inf if norm == "linf" else 2, dim=1)


def energy_above(offset, cycles):
    """Share of the energy of `[B, 3, H, W]` above so many cycles a pixel along either axis."""
    mirrored = torch.cat([offset, offset.flip(2)], 2)  # no jump where a period ends
    mirrored = torch.cat([mirrored, mirrored.flip(3)], 3)
    rows, columns = (torch.fft.fftfreq(side).abs() for side in mirrored.shape[2:])
    high = torch.maximum(rows[:, None], columns) > cycles
    power = torch.fft.fft2(mirrored).abs().square()
    return ((power * high).sum() / power.sum()).item()


ATTACKS = {
    "pgd": lambda eps, norm: PGD(eps, eps / 4, 6, norm),
    "apgd": lambda eps, norm: APGD(eps, 6, norm),
    "square": lambda eps, norm: Square(eps, 30, norm),
}


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 1.5)])
@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("scales", [[4], [5, 2, 1]])
def test_all_of_the_budget_is_used_and_no_more(norm, eps, name, scales):
    image = torch.rand(4, 3, 18, 15, generator=torch.Generator().manual_seed(1))
    inside = 0.3 + 0.4 * image
    attack = LowFrequency(ATTACKS[name](eps, norm), scales)
    for start in (image, inside):
        found = attack(start, linear, STREAMS)
        assert found.min() >= 0
        assert found.max() <= 1
        assert (attack.spent(found, start) <= eps + 1e-6).all()
    if name != "square" or len(scales) == 1:
        assert (length(found - inside, norm) > 0.95 * eps).all()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 1.5)])
def test_nearly_nothing_is_left_at_high_frequencies(norm, eps):
    """White noise has 3/4 of its energy there, and interpolated linearly, by sinc^4 from 1 on, .8 %."""
    grey = torch.full((4, 3, 32, 32), 0.5)
    attack = APGD(eps, 10, norm)
    every, coarse = (one(grey, linear, STREAMS) - 0.5 for one in (attack, LowFrequency(attack, [4])))
    assert energy_above(every, 0.25) > 0.7
    assert energy_above(coarse, 0.25) < 0.01
    assert length(coarse, norm).tolist() == pytest.approx([eps] * 4, rel=1e-4)


@pytest.mark.parametrize("sides", [(16, 12), (17, 13), (4, 9)])
def test_coarse_values_keep_their_extremes_or_their_length(sides):
    image = torch.empty(2, 3, *sides, dtype=torch.float64)
    coarse = torch.randn(2, 3, *(-(-side // 4) for side in sides), dtype=torch.float64)
    linf, l2 = (enlarger(image, 4, norm)(coarse) for norm in ("linf", "l2"))
    interpolated = torch.nn.functional.interpolate(coarse, size=sides, mode="bilinear")
    torch.testing.assert_close(linf, interpolated)
    assert (length(linf, "linf") <= length(coarse, "linf") + 1e-12).all()
    torch.testing.assert_close(length(l2, "l2"), length(coarse, "l2"))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_gradient_is_that_of_the_image_through_the_interpolation(images, norm):
    """Against differences, where nothing is cut off."""
    task, batch = classification(0.3 + 0.4 * images)
    enlarge = enlarger(batch["image"], 3, norm)

    def make(point):
        return straight_through(batch["image"] + enlarge(point - 0.5), lambda found: found.clamp(0, 1))

    value = Pullback(lambda image, streams: task.image_loss(image, batch), make)
    point = torch.full((4, 3, 3, 3), 0.5, dtype=torch.float64)
    point = (point + 0.05 * torch.randn_like(point)).requires_grad_()
    assert torch.autograd.gradcheck(lambda own: value(own, STREAMS), point)


def test_pixels_beyond_the_ball_are_climbed_as_at_its_surface():
    point = torch.tensor([-0.5, 0.25, 1.5], requires_grad=True)
    held = straight_through(point, lambda found: found.clamp(0, 1))
    held.square().sum().backward()
    assert held.tolist() == [0, 0.25, 1]
    assert point.grad.tolist() == [0, 0.5, 2]


@pytest.mark.parametrize("attack", [PGD(0.1, 0.03, 5), APGD(1.0, 5, "l2"), Square(0.1, 20), MIFGSM(0.1)])
def test_a_scale_of_one_pixel_is_the_attack_itself(images, attack):
    task, batch = classification(images)
    alone = attack.craft(task, batch, [bare], STREAMS)
    assert torch.equal(LowFrequency(attack, [1]).craft(task, batch, [bare], STREAMS), alone)


def test_finer_scales_go_on_from_what_is_found(images):
    """APGD keeps the best point seen, and the first is the last of the scale before."""
    task, batch = classification(images)
    losses = [
        task.image_loss(LowFrequency(APGD(0.05, 10), scales).craft(task, batch, [bare], STREAMS), batch)
        for scales in ([4], [4, 2], [4, 2, 1])
    ]
    assert (losses[2] >= losses[1]).all()
    assert (losses[1] >= losses[0]).all()
    assert (losses[2] > losses[0]).all()


def test_finer_scales_can_undo_what_is_found():
    """From the wrong corner of the ball, one step of its radius would only lead to the image."""
    image = torch.full((1, 3, 4, 4), 0.5)
    worth = iter([-1.0] * 4 + [1.0] * 4)  # the second scale wants the opposite

    def turning(image, streams):
        return next(worth) * image.sum((1, 2, 3))

    attack = LowFrequency(PGD(0.1, 0.05, 4, random_start=False), [2, 1])
    assert torch.allclose(attack(image, turning, Streams(0, (0,))), image + 0.1)


def test_an_image_s_perturbation_hangs_on_nothing_else(images):
    task, batch = classification(images)
    attack, alone = LowFrequency(PGD(0.1, 0.03, 5), [3, 1]), {name: own[2:3] for name, own in batch.items()}
    one = attack.craft(task, alone, [bare], Streams(0, (2,)))
    torch.testing.assert_close(attack.craft(task, batch, [bare], STREAMS)[2:3], one, atol=1e-12, rtol=0)
    assert not torch.allclose(attack.craft(task, alone, [bare], Streams(1, (2,))), one)


@pytest.mark.parametrize(
    "attack",
    [
        LowFrequency(PGD(steps=2, eot=3, restarts=2), [4, 2]),
        LowFrequency(APGD(steps=4, schedule="sea"), [4, 1]),
        LowFrequency(Square(steps=5), [2]),
    ],
)
def test_calls_are_those_that_are_planned(images, attack):
    task, batch = segmentation(images)
    with outputs_of(task.model) as outputs:
        attack.craft(task, batch, [bare], STREAMS)
    assert attack.task_calls == Calls(len(outputs), sum(output.requires_grad for output in outputs))


def test_scales_share_one_course():
    value = Recorder()
    LowFrequency(PGD(steps=2), [4, 2])(torch.full((1, 3, 4, 4), 0.5), value, Streams(0, (0,)))
    assert [progress for progress, _ in value.told] == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("kind", TASKS)
def test_the_answer_is_chosen_as_the_attack_chooses(images, kind):
    task, batch = TASKS[kind](images)
    attack = LowFrequency(APGD(0.1, 20), [2])
    with outputs_of(task) as outputs:
        found = attack.craft(task, batch, [bare], STREAMS)
    sign, name = 1 if task.lower_is_better else -1, task.score
    harm = [sign * task.statistics(task.decide(output), batch)[name] for output in outputs]
    done = sign * task.statistics(task.decide(task(found)), batch)[name]
    dense = kind != "classification"
    assert isinstance(attack._bind(task, batch, bare), Judged) == dense
    if dense:
        torch.testing.assert_close(done, torch.stack(harm).amax(0))


def test_what_is_the_attack_s_is_that_of_the_whole():
    attack = LowFrequency(APGD(0.3, 4, "l2", eot=5, objective=PurifiedDistance()))
    assert (attack.eps, attack.norm, attack.eot, attack.needs_purifier) == (0.3, "l2", 5, True)
    once = attack.with_one_draw()
    assert (once.eot, once.attack.eot, attack.attack.eot) == (1, 1, 5)
    assert attack.needs_gradient
    assert not LowFrequency(Square()).needs_gradient


@pytest.mark.parametrize(
    ("attack", "scales", "message"),
    [
        (PGD(), [], "scales=.*; expected a list of whole numbers"),
        (PGD(), 4, "scales=4; expected a list"),
        (PGD(), [4, 0], "scales=0; expected a whole number of at least 1"),
        (PGD(), [2.5], "scales=2.5; expected a whole number"),
        (ArtAttack("art.attacks.evasion.SquareAttack"), [4], "attack=ArtAttack; expected one that knows"),
        (SIA(), [4], "attack=SIA"),
        (Patch(), [4], "attack=Patch"),
        (StAdv(), [4], "attack=StAdv"),
        (LowFrequency(PGD()), [4], "attack=LowFrequency"),
    ],
)
def test_bad_settings_are_refused(attack, scales, message):
    with pytest.raises(InputError, match=message):
        LowFrequency(attack, scales)


def test_a_scale_larger_than_the_image_is_refused_before_any_work(images):
    task, batch = Classification(TinyClassifier()), {"image": images[:, :, :6], "label": torch.arange(4)}
    with pytest.raises(
        InputError, match=r"scales=\[8, 1\], but images have 6 x 8 pixels; expected at most 6"
    ):
        LowFrequency(PGD(), [8, 1]).check(task, batch)
