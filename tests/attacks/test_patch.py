import pytest
import torch
from conftest import TinyClassifier, TinySegmenter

import dds
from dds.attacks import Patch
from dds.attacks.objectives.base import Calls
from dds.attacks.patch import paste
from dds.errors import InputError
from dds.noise import Streams
from dds.tasks import Classification, SemanticSegmentation

STREAMS = Streams(0, (0, 1, 2, 3))


@pytest.fixture
def image():
    return 0.3 + 0.4 * torch.rand(4, 3, 20, 16, generator=torch.Generator().manual_seed(3))


def slopes(like):
    """A value whose best patch is black or white in each place."""
    return torch.randn(like[:1].shape, generator=torch.Generator().manual_seed(5))


def linear(image, streams):
    return (image * slopes(image)).sum((1, 2, 3))


def squares(found, image):
    """Return row, column, height and width of what has changed, of each image."""
    boxes = []
    for one in (found != image).any(1):
        rows, columns = one.any(1).nonzero()[:, 0], one.any(0).nonzero()[:, 0]
        boxes.append((int(rows[0]), int(columns[0]), len(rows), len(columns)))
    return boxes


PLACES = {"corner": {(0, 0)}, "centre": {(8, 6)}, "random": None}


@pytest.mark.parametrize("place", PLACES)
def test_a_square_changes_and_the_rest_stays(image, place):
    attack = Patch(side=0.3, place=place, step_size=0.25, steps=5)
    found = attack(image, linear, STREAMS)
    boxes = squares(found, image)
    corners = {box[:2] for box in boxes}
    assert {box[2:] for box in boxes} == {(4, 4)}  # .3 of 16, rounded down
    assert len(corners) == 4 if place == "random" else corners == PLACES[place]
    assert attack.spent(found, image).tolist() == [0.25] * 4
    for one, (row, column, height, width) in zip(found, boxes, strict=True):
        window = (slice(row, row + height), slice(column, column + width))
        best = (slopes(image)[0][:, *window] > 0).float()
        assert torch.equal(one[:, *window], best)


def test_a_moving_patch_is_judged_at_a_place_where_it_was_not_made(image):
    seen = []

    def watch(image, streams):
        seen.append(image.detach())
        return image.flatten(1).sum(1)

    found = Patch(side=0.3, moves=True, step_size=0.5, steps=6, eot=2)(image, watch, STREAMS)
    tried = [squares(one, image)[0] for one in seen]
    assert len(set(tried)) > 6
    row, column, *_ = squares(found, image)[0]
    assert (found[0, :, row : row + 4, column : column + 4] == 1).all()


def test_an_image_s_patch_hangs_on_nothing_else(image):
    attack = Patch(steps=2)
    alone = attack(image[2:3], linear, Streams(0, (2,)))
    assert torch.equal(alone, attack(image, linear, STREAMS)[2:3])


def test_the_gradient_of_a_patch(image):
    """Against differences, where the square lies at other places in each image."""
    image = image.double()
    corners = torch.tensor([[0, 0], [3, 4], [16, 12], [7, 1]])
    patch = torch.rand(4, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda own: (paste(image, own, corners) ** 2).sum((1, 2, 3)), patch)


def test_what_it_costs_and_what_is_drawn():
    assert Patch(steps=7, eot=3).task_calls == Patch(steps=7, eot=3).purifier_calls == Calls(21, 21)
    assert Patch(eot=3).with_one_draw().eot == 1
    assert Patch(eot=3, moves=True).with_one_draw().eot == 3


@pytest.mark.parametrize("kind", ["label", "mask"])
def test_tasks_get_worse_by_more_than_by_any_colours(images, kind):
    torch.manual_seed(0)
    task = {"label": Classification(TinyClassifier()), "mask": SemanticSegmentation(TinySegmenter())}[kind]
    task.requires_grad_(False)
    batch = {"image": images, kind: task.decide(task(images))}
    colours, found = (
        Patch(side=0.5, steps=steps, step_size=size).craft(
            task, batch, [lambda image, streams: image], STREAMS
        )
        for steps, size in ((1, 0), (10, 0.2))
    )
    assert (task.image_loss(found, batch) > task.image_loss(colours, batch)).all()


def test_a_run_refuses_what_leaves_the_square(monkeypatch, tmp_path):
    monkeypatch.setattr(Patch, "__call__", lambda self, image, value, streams: 1 - image)
    labels = [(torch.rand(3, 8, 8), number) for number in range(2)]
    protocol = dds.AttackAndPurify(attacks={"patch": Patch()}, attacker_sees=["none"])
    with pytest.raises(RuntimeError, match="attack patch left its budget: patch 1.0"):
        dds.evaluate(
            Classification(TinyClassifier()), labels, protocol, tmp_path / "a", accelerator="cpu", quiet=True
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": 1.5}, "side=1.5; expected a share of the image's shorter side"),
        ({"side": 0}, "side=0; expected a share"),
        ({"place": "left"}, "place='left'; expected one of random, centre, corner"),
        ({"place": "corner", "moves": True}, "place=corner of a patch that moves; expected random"),
        ({"steps": 0}, "steps=0"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Patch(**options)
