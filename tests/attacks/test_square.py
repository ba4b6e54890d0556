import pytest
import torch
from conftest import TinyClassifier, TinySegmenter

from dds.attacks import Margin, Square
from dds.attacks.objectives.base import Calls
from dds.attacks.square import pattern
from dds.errors import InputError
from dds.noise import Streams
from dds.tasks import Classification, SemanticSegmentation

STREAMS = Streams(0, (0, 1, 2, 3))


def bare(image, streams):
    return image


@pytest.fixture
def task():
    return Classification(TinyClassifier()).requires_grad_(False)


@pytest.fixture
def batch(task, images):
    return {"image": images, "label": task(images).argmax(1)}


class Path:
    """Keeps the points that are tried, and finds the next always better."""

    def __init__(self):
        self.points = []

    def __call__(self, image, streams):
        self.points.append(image)
        return torch.full_like(image[:, 0, 0, 0], len(self.points))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_step_changes_a_window_within_the_budget(norm):
    image = 0.3 + 0.4 * torch.rand(4, 3, 20, 16, generator=torch.Generator().manual_seed(3))
    path, attack = Path(), Square(0.1, 30, norm).with_one_draw()
    found = attack(image, path, STREAMS)
    assert torch.equal(found, path.points[-1])
    sides = [attack._side(step, image) for step in range(1, 31)]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] == 16
    places = set()
    for before, after, side in zip(path.points[:-1], path.points[1:], sides, strict=True):
        offset = after - image
        spent = offset.abs().amax((1, 2, 3)) if norm == "linf" else offset.flatten(1).norm(dim=1)
        assert spent.tolist() == pytest.approx([0.1] * 4, abs=1e-5)
        changed = (after - before).abs() > 1e-6  # in L2 all is, as the whole is scaled
        for one in changed if norm == "linf" else []:
            rows, columns = one.any(2).any(0).nonzero(), one.any(1).any(0).nonzero()
            assert max(len(rows), len(columns)) <= side
            places.add((*rows[:1, 0].tolist(), *columns[:1, 0].tolist()))
    assert norm == "l2" or len(places) > 20


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_value_never_falls_and_rises_for_each_image(task, batch, norm):
    value = Margin().bind(task, batch, bare)
    reached = [value(batch["image"], None)]
    for steps in (1, 20, 200):
        found = Square(0.05 if norm == "linf" else 0.5, steps, norm, objective=Margin()).craft(
            task, batch, [bare], STREAMS
        )
        reached.append(value(found, None))
    assert (reached[-1] > reached[0]).all()
    assert (reached[-1] > reached[1]).all()


def test_an_image_depends_on_its_stream_alone(task, batch):
    attack, alone = Square(0.1, 20), {name: value[2:3] for name, value in batch.items()}
    together = attack.craft(task, batch, [bare], STREAMS)
    one = attack.craft(task, alone, [bare], Streams(0, (2,)))
    assert torch.allclose(one, together[2:3], atol=1e-6)
    assert not torch.allclose(attack.craft(task, alone, [bare], Streams(1, (2,))), one)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_may_start_from_the_image(images, norm):
    path = Path()
    found = Square(0.1, 3, norm, random_start=False).with_one_draw()(images, path, STREAMS)
    assert torch.equal(path.points[0], images)
    assert not torch.equal(found, images)


@pytest.mark.parametrize(
    ("attack", "planned"), [(Square(0.1, 7, eot=3), 42), (Square(0.1, 7, eot=3).with_one_draw(), 8)]
)
def test_calls_are_those_that_are_planned(task, batch, attack, planned):
    calls = []
    task.model.register_forward_hook(lambda *arguments: calls.append(None))
    attack.craft(task, batch, [bare], STREAMS)
    assert attack.calls == Calls(forward=len(calls)) == Calls(planned)


def test_a_lucky_draw_is_not_kept(task, batch):
    value = Margin().bind(task, batch, bare)

    def lucky(image, streams):
        luck = streams.child("luck").normal(image[:, 0, 0, 0]).double()
        return value(image, streams).double() + 10 * luck

    calm = Square(0.1, 100)(batch["image"], lambda image, streams: value(image, streams).double(), STREAMS)
    assert torch.equal(Square(0.1, 100)(batch["image"], lucky, STREAMS), calm)
    fooled = Square(0.1, 100).with_one_draw()(batch["image"], lucky, STREAMS)
    assert (value(fooled, None) < value(calm, None)).all()


def test_any_task_can_be_searched(images):
    task = SemanticSegmentation(TinySegmenter()).requires_grad_(False)
    batch = {"image": images, "mask": task(images).argmax(1)}
    found = Square(0.1, 50, "l2").craft(task, batch, [bare], STREAMS)
    assert (task.image_loss(found, batch) > task.image_loss(images, batch)).all()


@pytest.mark.parametrize("side", range(1, 12))
def test_the_pattern_is_the_authors(side):
    authors = pytest.importorskip("pyautoattack.square").SquareAttack(None, norm="L2", device="cpu")
    expected = authors.eta(side)  # or its transpose, by chance
    assert any(torch.allclose(pattern(side), one, atol=1e-6) for one in (expected, expected.T))


@pytest.mark.parametrize(
    "arguments", [{"steps": 0}, {"norm": "l1"}, {"window": 0}, {"window": 2}, {"eot": 0}]
)
def test_bad_arguments(arguments):
    with pytest.raises(InputError):
        Square(**arguments)
