import pytest
import torch
from conftest import TinyClassifier, TinySegmenter

from dds.attacks import PGD, RootMeanSquareError
from dds.errors import InputError
from dds.noise import Streams
from dds.tasks import Classification, DepthEstimation

STREAMS = Streams(0, (0, 1))


def bare(image, streams):
    return image


@pytest.fixture
def task():
    return DepthEstimation(TinySegmenter(1), max_depth=2.0).eval().requires_grad_(False).double()


@pytest.fixture
def batch():
    torch.manual_seed(3)
    depth = 1 + torch.rand(2, 8, 8, dtype=torch.float64)
    depth[:, 0] = 0  # not known
    return {"image": torch.rand(2, 3, 8, 8, dtype=torch.float64), "depth": depth}


def test_it_is_the_error_of_the_known_pixels_within_the_range(task, batch):
    value = RootMeanSquareError().bind(task, batch, bare)(batch["image"], STREAMS)
    metres = task(batch["image"]).clamp(1e-3, 2.0)
    squares = (metres - batch["depth"]).square()[:, 1:]
    torch.testing.assert_close(value, squares.mean((1, 2)).sqrt())


def test_its_gradient_is_that_of_finite_differences(task, batch):
    value = RootMeanSquareError().bind(task, batch, bare)
    assert torch.autograd.gradcheck(lambda image: value(image, STREAMS), batch["image"].requires_grad_())


def test_pixels_that_left_the_range_do_not_pull(batch):
    far = DepthEstimation(torch.nn.Conv2d(3, 1, 1), max_depth=1.5).double().requires_grad_(False)
    with torch.no_grad():
        far.model.bias.fill_(9.0)
    image = batch["image"].requires_grad_()
    RootMeanSquareError().bind(far, batch, bare)(image, STREAMS).sum().backward()
    assert not image.grad.any()


def test_pgd_raises_it(task, batch):
    attack = PGD("16/255", steps=10, objective=RootMeanSquareError())
    attacked = attack.craft(task, batch, [bare], STREAMS)
    value = RootMeanSquareError().bind(task, batch, bare)
    assert (value(attacked, STREAMS) > value(batch["image"], STREAMS)).all()


def test_other_tasks_are_refused(batch):
    with pytest.raises(InputError, match=r"needs batch\[.depth.\]; Classification is scored"):
        RootMeanSquareError().bind(Classification(TinyClassifier()), batch, bare)
