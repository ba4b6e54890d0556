import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TinyClassifier

from dds.attacks.libraries.one_image import OneImage
from dds.noise import Streams
from dds.tasks import Classification

STREAMS = Streams(0, (10, 11, 12, 13))


def noisy(image, streams):
    return image + 0.1 * streams.normal(image)


@pytest.fixture
def each(images):
    task = Classification(TinyClassifier()).requires_grad_(False)
    batch = {"image": images, "label": torch.arange(4), "views": iter([])}
    return list(OneImage.each(task, batch, [noisy], STREAMS))


def drawn():
    return random.random(), np.random.rand(), np.random.RandomState().rand(), torch.rand(()).item()


def test_each_image_comes_with_its_targets_and_its_streams(each, images):
    assert [one.streams.index for one in each] == [(10,), (11,), (12,), (13,)]
    assert [one.batch["label"].tolist() for one in each] == [[0], [1], [2], [3]]
    assert torch.equal(torch.cat([one.image for one in each]), images)


def test_the_stream_seeds_every_global_generator(each):
    with each[0].seeded():
        first = drawn()
    with each[0].seeded():
        assert drawn() == first
    with each[1].seeded():
        assert all(a != b for a, b in zip(drawn(), first, strict=True))


def global_seed():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


def fail(one):
    with one.seeded():
        drawn()
        raise ZeroDivisionError


def test_global_generators_go_on_as_if_nothing_was_even_after_an_error(each):
    global_seed()
    expected, before = (random.random(), np.random.rand(), torch.rand(()).item()), np.random.RandomState
    global_seed()
    with pytest.raises(ZeroDivisionError):
        fail(each[0])
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected
    assert np.random.RandomState is before


def test_candidates_share_the_noise_of_a_look_and_no_other(each):
    one = each[0]
    candidates = one.image.expand(3, -1, -1, -1)
    first, second = one.logits(candidates), one.logits(candidates)
    assert torch.allclose(first[0], first[2], atol=1e-6)
    assert not torch.allclose(first, second, atol=1e-4)


def test_logits_through_several_purifiers_are_averaged(each, images):
    one = each[0]
    one.through = [lambda image, streams: image, lambda image, streams: image / 2]
    expected = (one.task(images[:1]) + one.task(images[:1] / 2)) / 2
    assert torch.allclose(one.logits(images[:1]), expected)


def test_gradient_of_each_candidate(each, images):
    one, value = each[0], lambda image, streams: F.cross_entropy(image.flatten(1), torch.tensor([3]))
    expected = [torch.autograd.functional.jacobian(lambda x: value(x[None], None), image) for image in images]
    assert torch.allclose(one.gradient(images, value), torch.stack(expected), atol=1e-6)
