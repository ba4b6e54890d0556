from functools import partial

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import torch
import torch.nn.functional as F
from conftest import TinyClassifier

from dds.attacks.mi_fgsm import MIFGSM
from dds.attacks.sia import OPERATIONS, SIA, TRANSFERATTACK
from dds.errors import InputError
from dds.noise import Streams

LABELS = torch.tensor([0, 1, 2, 3])
STREAMS = Streams(0, (0, 1, 2, 3))


def loss_of(network, labels=LABELS):
    return lambda image, streams: F.cross_entropy(network(image), labels, reduction="none")


def mirrored(network):
    """A loss that is the same for an image and its mirror image."""
    loss = loss_of(network)
    return lambda image, streams: loss(image, streams) + loss(image.flip(2), streams)


@pytest.fixture
def network():
    return TinyClassifier().requires_grad_(False)


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def low_pass(block):
    spectrum = scipy.fft.dctn(block, axes=(1, 2), norm="ortho")
    height, width = block.shape[1:]
    spectrum[:, height - int(0.4 * height) :] = 0
    spectrum[:, :, width - int(0.4 * width) :] = 0
    return scipy.fft.idctn(spectrum, axes=(1, 2), norm="ortho")


def bilinear(block, height, width):
    """Sample at the centres of new pixels (half-pixel convention), repeating the border."""
    rows = (np.arange(height) + 0.5) * block.shape[1] / height - 0.5
    columns = (np.arange(width) + 0.5) * block.shape[2] / width - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.stack(
        [scipy.ndimage.map_coordinates(channel, grid, order=1, mode="nearest") for channel in block]
    )


EXPECTED = {
    "resize": lambda block, numbers: bilinear(bilinear(block, 7, 9), 8, 11),
    "vertical_shift": lambda block, numbers: np.roll(block, int(numbers.flat[0] * 8), axis=1),
    "horizontal_shift": lambda block, numbers: np.roll(block, int(numbers.flat[0] * 11), axis=2),
    "vertical_flip": lambda block, numbers: block[:, ::-1],
    "horizontal_flip": lambda block, numbers: block[:, :, ::-1],
    "rotate180": lambda block, numbers: np.rot90(block, 2, axes=(1, 2)),
    "scale": lambda block, numbers: block * numbers.flat[0],
    "noise": lambda block, numbers: np.clip(block + numbers * 32 / 255 - 16 / 255, 0, 1),
    "dct": lambda block, numbers: low_pass(block),
    "dropout": lambda block, numbers: np.where(numbers[:, :1, :1] < 0.1, 0, block / 0.9),
}


def test_expectations_cover_the_ten_operations():
    assert list(OPERATIONS) == list(EXPECTED)
    assert set(OPERATIONS) - set(TRANSFERATTACK) == {"resize", "dct", "dropout"}


@pytest.mark.parametrize("name", EXPECTED)
def test_operation_equals_numpy_and_scipy(name):
    block, numbers = uniform(3, 8, 11), uniform(3, 8, 11, seed=1)
    numbers[:2, 0, 0] = torch.tensor([0.5, 0.05])  # half a roll; the second channel is dropped
    got = OPERATIONS[name](block, numbers).numpy()
    assert got.shape == block.shape
    assert not np.allclose(got, block.numpy())
    np.testing.assert_allclose(got, EXPECTED[name](block.numpy(), numbers.numpy()), atol=1e-12)


@pytest.mark.parametrize("name", EXPECTED)
def test_gradient_of_operation_equals_finite_differences(name):
    block, numbers = uniform(3, 4, 5), uniform(3, 4, 5, seed=1)
    away_from_clipping = (0.1 + 0.8 * block).requires_grad_()
    assert torch.autograd.gradcheck(partial(OPERATIONS[name], numbers=numbers), away_from_clipping)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 2, 1)])
def test_operation_survives_the_smallest_blocks(name, shape):
    got = OPERATIONS[name](uniform(*shape), uniform(*shape, seed=1))
    assert got.shape == shape
    assert got.isfinite().all()


def edges(copy):
    """Where neighbouring rows and neighbouring columns of `[H, W]` differ."""
    return copy.diff(dim=0).any(1).nonzero()[:, 0] + 1, copy.diff(dim=1).any(0).nonzero()[:, 0] + 1


def test_cuts_nine_blocks_each_with_its_own_operation():
    white = torch.ones(2, 3, 20, 30)
    copies = SIA(operations=["scale"]).transform(white, Streams(0, (0, 1)))
    for copy in copies:  # a block scaled by its own number is flat
        rows, columns = edges(copy[0])
        assert len(rows) == len(columns) == 2
        assert len(copy.unique()) == 9
    assert not torch.equal(copies[0], copies[1])  # each image has its own cuts and numbers


def test_as_many_blocks_as_pixels():
    copy = SIA(blocks=5, operations=["scale"]).transform(torch.ones(1, 3, 5, 5), Streams(0, (0,)))
    assert len(copy[0, 0].unique()) == 25


def test_every_cut_is_as_likely():
    attack = SIA(blocks=2, operations=["scale"])
    copies = attack.transform(torch.ones(900, 1, 2, 10), Streams(0, tuple(range(900))))
    cuts = torch.cat([edges(copy[0])[1] for copy in copies])
    assert len(cuts) == 900
    assert cuts.bincount()[1:].min() > 60  # 100 expected at each of 9 places, standard deviation 9.4


def test_cuts_of_rows_and_columns_are_independent():
    attack = SIA(operations=["scale"])
    copies = attack.transform(torch.ones(4, 1, 20, 20), STREAMS)
    assert any(not torch.equal(*edges(copy[0])) for copy in copies)


def test_draws_every_operation_equally_often():
    attack = SIA(blocks=1, operations=["scale", "horizontal_flip"])  # only one changes a white image
    copies = attack.transform(torch.ones(900, 1, 2, 2), Streams(0, tuple(range(900))))
    scales = copies[:, 0, 0, 0][copies[:, 0, 0, 0] < 1]
    assert 390 < len(scales) < 510  # 450 expected, standard deviation 15
    assert 0.45 < scales.mean() < 0.55  # the choice of the operation tells nothing about its number


def test_gradient_flows_to_the_pixels_that_moved():
    image = uniform(1, 3, 6, 6).requires_grad_()
    attack = SIA(blocks=1, operations=["rotate180"])
    weight = uniform(1, 3, 6, 6, seed=1)
    (attack.transform(image, Streams(0, (0,))) * weight).sum().backward()
    assert torch.equal(image.grad, weight.flip(2, 3))


def test_a_white_box_attack_within_the_budget(images, network):
    value = loss_of(network)
    adversarial = SIA("8/255", steps=4, copies=4)(images, value, STREAMS)
    assert (adversarial - images).abs().max() <= 8 / 255 + 1e-6
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    assert (value(adversarial, STREAMS) > value(images, STREAMS)).all()


def test_gradient_is_the_mean_over_copies(images, network):
    attack, value = SIA("8/255", step_size=1, steps=1, copies=3), loss_of(network)
    leaf = images.clone().requires_grad_()
    copies = [attack.transform(leaf, STREAMS.child("step", 0).child("copy", copy)) for copy in range(3)]
    gradient = torch.autograd.grad(sum(value(copy, STREAMS).sum() for copy in copies), leaf)[0]
    expected = (images + 8 / 255 * gradient.sign()).clamp(0, 1)
    assert torch.allclose(attack(images, value, STREAMS), expected, atol=1e-6)


def test_an_image_does_not_depend_on_its_batch(images, network):
    attack = SIA(steps=3, copies=3, eot=2)
    together = attack(images, loss_of(network), STREAMS)
    alone = attack(images[2:3], loss_of(network, LABELS[2:3]), Streams(0, (2,)))
    assert torch.allclose(alone, together[2:3], atol=1e-6)


def test_the_seed_decides(images, network):
    attack, value = SIA(steps=2, copies=2), loss_of(network)
    first = attack(images, value, STREAMS)
    assert torch.equal(attack(images, value, STREAMS), first)
    assert not torch.equal(attack(images, value, Streams(1, STREAMS.index)), first)


def test_equals_mi_fgsm_where_the_objective_does_not_see_the_transformation(images, network):
    value = mirrored(network)
    expected = MIFGSM()(images, value, STREAMS)
    got = SIA(copies=1, blocks=1, operations=["vertical_flip"])(images, value, STREAMS)
    assert torch.allclose(got, expected, atol=1e-6)


def test_plans_exactly_the_calls_it_makes(images):
    seen = []
    attack = SIA(steps=3, copies=4, eot=2)
    attack(images, lambda image, streams: (seen.append(1), image.flatten(1).sum(1))[1], STREAMS)
    assert attack.calls.forward == attack.calls.backward == len(seen) == 24


def test_sets_of_operations():
    assert SIA().operations == tuple(OPERATIONS)
    assert SIA(operations="transferattack").operations == TRANSFERATTACK
    assert SIA(operations=["dct", "noise"]).operations == ("dct", "noise")


@pytest.mark.parametrize("operations", [["blur"], "blur", []])
def test_bad_operations_list_the_known(operations):
    with pytest.raises(InputError, match="transferattack, resize, vertical_shift"):
        SIA(operations=operations)


@pytest.mark.parametrize(
    "arguments", [{"eps": -1}, {"steps": 0}, {"eot": 0}, {"copies": 0}, {"blocks": 0}, {"step_size": "x"}]
)
def test_bad_arguments(arguments):
    with pytest.raises(InputError):
        SIA(**arguments)


@pytest.mark.parametrize("shape", [(1, 3, 8, 2), (1, 3, 2, 8)])
def test_images_smaller_than_the_blocks(shape):
    with pytest.raises(InputError, match="blocks=3; expected at most 2"):
        SIA().transform(torch.ones(shape), Streams(0, (0,)))
