import pytest
import torch
import torch.nn.functional as F
from attacks.test_judged import TASKS, classification
from conftest import TinyClassifier

import dds
from dds.attacks import StAdv
from dds.attacks.objectives.base import Calls
from dds.attacks.objectives.judged import Judged
from dds.attacks.spatial import roughness, warp
from dds.errors import InputError
from dds.models.features import outputs_of
from dds.noise import Streams
from dds.tasks import Classification

STREAMS = Streams(0, (0, 1, 2, 3))


def bare(image, streams):
    return image


@pytest.fixture
def image():
    return torch.rand(4, 3, 12, 9, generator=torch.Generator().manual_seed(3))


def random_flow(image, size):
    shape = (len(image), 2, *image.shape[2:])
    return size * (2 * torch.rand(shape, generator=torch.Generator().manual_seed(4)) - 1).to(image)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_no_flow_leaves_the_image_to_the_last_bit(image, kind):
    image = image.to(kind)
    assert torch.equal(warp(image, torch.zeros_like(image[:, :2])), image)


def test_a_flow_is_torch_s_grid_sample(image):
    image = image.double()
    flow = random_flow(image, 3.0)
    height, width = image.shape[2:]
    rows = torch.arange(height)[:, None] + flow[:, 0]
    columns = torch.arange(width) + flow[:, 1]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], 3)
    expected = F.grid_sample(image, grid, "bilinear", "border", align_corners=False)
    torch.testing.assert_close(warp(image, flow), expected)


def test_from_no_flow_at_all_every_pixel_can_move(image):
    flow = torch.zeros_like(image[:, :2]).requires_grad_()
    warp(image, flow).sum().backward()
    assert (flow.grad != 0).all()


def test_whole_flows_shift_and_the_border_stays(image):
    flow = torch.tensor([2.0, -1.0]).reshape(1, 2, 1, 1).expand(4, 2, 12, 9)
    expected = image[:, :, [*range(2, 12), 11, 11]][:, :, :, [0, *range(8)]]
    assert torch.equal(warp(image, flow), expected)


def test_interpolated_values_are_between_those_around(image):
    white = (image > 0.5).float()
    found = warp(white, random_flow(image, 4.0))
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_gradient_of_the_loss_in_the_flow(images):
    """Against differences, roughness included, away from whole pixels, where there is no derivative."""
    task, batch = classification(images)
    batch = {name: own[:1] for name, own in batch.items()}
    flow = random_flow(batch["image"], 1.9).requires_grad_()
    assert (flow.frac().abs() > 1e-4).all()
    assert torch.autograd.gradcheck(
        lambda own: task.image_loss(warp(batch["image"], own), batch) - 0.01 * roughness(own), flow
    )


def test_roughness_of_a_slope_and_of_one_pixel():
    slope = torch.zeros(1, 2, 5, 4)
    slope[0, 0], slope[0, 1] = 3 * torch.arange(5.0)[:, None], 4 * torch.arange(5.0)[:, None]
    assert roughness(slope).item() == 2 * 5 * (4 * 4)  # each of 4 x 4 pairs differs by (3, 4)
    bump = torch.zeros(1, 2, 5, 4)
    bump[0, 0, 2, 2] = 1.0
    assert roughness(bump).item() == 2 * 4


def test_no_flow_at_all_has_a_gradient():
    flow = torch.zeros(1, 2, 4, 4, requires_grad=True)
    roughness(flow).sum().backward()
    assert (flow.grad == 0).all()


@pytest.mark.parametrize("random_start", [False, True])
def test_pixels_come_from_no_further_than_the_bound(images, random_start, monkeypatch):
    flows = []

    def watched(image, flow):
        flows.append(flow.detach())
        return warp(image, flow)

    monkeypatch.setattr("dds.attacks.spatial.warp", watched)
    task, batch = classification(images)
    attack = StAdv(0.3, steps=6, random_start=random_start)
    found = attack.craft(task, batch, [bare], STREAMS)
    furthest = torch.stack(flows).abs().amax()
    assert furthest.item() == pytest.approx(0.3 * 8 / 2)
    assert torch.equal(found, warp(batch["image"], flows[-1]))
    assert random_start or (flows[0] == 0).all()


@pytest.mark.parametrize("size", [0.0, 0.7, 1.5, 3.2])
def test_what_is_spent_is_never_more_than_the_flow(image, size):
    flow = random_flow(image, size)
    spent = StAdv().spent(warp(image, flow), image)
    assert (spent <= flow.abs().amax((1, 2, 3)) * 2 / 9).all()
    assert (spent > 0).all() == (size > 1)


def test_what_is_spent_tells_how_far_away_a_value_is():
    image = torch.ones(3, 3, 12, 9)
    image[:, :, 5, 0] = 0
    shown = image.clone()
    shown[1, :, 0, 0] = 0  # from more than 4 pixels down
    shown[2, :, 0, 0] = -0.1
    assert StAdv().spent(shown, image).tolist() == pytest.approx([0, 4 * 2 / 9, torch.inf])


@pytest.mark.parametrize("kind", TASKS)
def test_tasks_get_worse_and_their_answer_is_chosen_as_in_apgd(images, kind):
    task, batch = TASKS[kind](images)
    attack = StAdv(0.3, steps=10)
    found = attack.craft(task, batch, [bare], STREAMS)
    score = [
        task.statistics(task.decide(task(one)), batch)[task.score].double() for one in (batch["image"], found)
    ]
    dense = kind != "classification"
    assert isinstance(attack._bind(task, batch, bare), Judged) == dense
    if dense:
        assert ((score[1] > score[0]) if task.lower_is_better else (score[1] < score[0])).all()
    else:
        assert (task.image_loss(found, batch) > task.image_loss(batch["image"], batch)).all()


def test_a_classifier_of_scenes_is_led_astray_within_the_published_bound():
    task = Classification("zoo:scenes-classification").eval().requires_grad_(False)
    data = dds.data.Scenes(size=64, test_images=4, batch_size=4)
    batch = next(iter(data.test_dataloader()))
    found = StAdv(0.05, steps=5).craft(task, batch, [bare], STREAMS)
    losses = [task.image_loss(one, batch) for one in (batch["image"], found)]
    assert (losses[1] > losses[0] + 1).all()


def test_smoothness_is_bought_with_loss(images):
    task, batch = classification(images)
    flows = {}
    for tau in (0.0, 0.001):
        attack = StAdv(0.3, steps=20, tau=tau)
        with pytest.MonkeyPatch.context() as patch:
            seen = []
            patch.setattr(
                "dds.attacks.spatial.warp",
                lambda image, flow, seen=seen: seen.append(flow) or warp(image, flow),
            )
            attack.craft(task, batch, [bare], STREAMS)
        flows[tau] = seen[-1]
    rough, smooth = flows.values()
    assert (roughness(smooth) < roughness(rough)).all()
    loss = [task.image_loss(warp(batch["image"], flow), batch) for flow in (rough, smooth)]
    assert (loss[1] < loss[0]).all()
    assert (loss[1] - 0.001 * roughness(smooth) > loss[0] - 0.001 * roughness(rough)).all()


def test_an_image_s_flow_hangs_on_nothing_else(images):
    task, batch = classification(images)
    attack, alone = StAdv(0.3, 5, random_start=True), {name: own[2:3] for name, own in batch.items()}
    one = attack.craft(task, alone, [bare], Streams(0, (2,)))
    torch.testing.assert_close(attack.craft(task, batch, [bare], STREAMS)[2:3], one, atol=1e-12, rtol=0)
    assert not torch.allclose(attack.craft(task, alone, [bare], Streams(1, (2,))), one)


def test_what_it_costs_and_what_is_drawn(images):
    task, batch = classification(images)
    attack = StAdv(steps=4, eot=3)
    with outputs_of(task.model) as outputs:
        attack.craft(task, batch, [bare], STREAMS)
    assert (
        attack.task_calls
        == Calls(len(outputs), sum(output.requires_grad for output in outputs))
        == Calls(15, 12)
    )
    assert attack.with_one_draw().task_calls == Calls(5, 4)


def test_a_run_refuses_what_no_flow_makes(monkeypatch, tmp_path):
    monkeypatch.setattr(StAdv, "__call__", lambda self, image, value, streams: 1 - image)
    labels = [(torch.linspace(0, 0.4, 192).reshape(3, 8, 8), number) for number in range(2)]
    protocol = dds.AttackAndPurify(attacks={"flow": StAdv()}, attacker_sees=["none"])
    with pytest.raises(RuntimeError, match="attack flow left its budget: flow inf of 0.05"):
        dds.evaluate(
            Classification(TinyClassifier()), labels, protocol, tmp_path / "a", accelerator="cpu", quiet=True
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bound": 0}, "bound=0; expected half sides of an image, above 0 and up to 1"),
        ({"bound": -0.1}, "bound=-0.1; expected"),
        ({"bound": 5}, "bound=5; expected"),
        ({"bound": "far"}, "bound='far'; expected a number"),
        ({"tau": -1}, "tau=-1; expected a weight of at least 0"),
        ({"steps": 0}, "steps=0"),
        ({"eot": 0}, "eot=0"),
        ({"best": "loss"}, "best='loss'; expected one of"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        StAdv(**options)
