import pytest
import torch
from conftest import TinyClassifier

import dds
from dds.callbacks.sequential_votes import SequentialVotes
from dds.certificates import Asked
from dds.noise import OwnStreams, Streams

ASKED = Asked((0.25, 1.0), 0.01, 0, 80)
SIGMA, FIRST = 0.3, 4


class Noise:
    """Adds noise, and remembers how large its batches were."""

    def __init__(self):
        self.sizes = []

    def __call__(self, image, streams):
        self.sizes.append(len(image))
        return image + SIGMA * streams.normal(image)


def count(task, batch, noise=None, real=None, tell=lambda waiting: None):
    noise = noise or Noise()
    streams = Streams(0, tuple(batch["index"].tolist()))
    shown = [noise(batch["image"], streams.child("certificate", number)) for number in range(FIRST)]
    decisions = torch.stack([task.decide_on(one, batch) for one in shown])
    given = batch if real is None else {**batch, "real": real}
    return SequentialVotes(task, given, noise, streams, "certificate", ASKED, tell).count(decisions)


@pytest.fixture
def task():
    torch.manual_seed(0)
    return dds.tasks.Classification(TinyClassifier())


@pytest.fixture
def batch(images, task):
    """The network's own answers, but for the last image, whose label is another."""
    label = task(images).argmax(1)
    label[-1] = (label[-1] + 1) % 4
    return {"image": images, "index": torch.arange(10, 14), "label": label}


def some(batch, places):
    return {name: value[places] for name, value in batch.items()}


@pytest.mark.parametrize("mates", [[2], [2, 0], [3, 2, 1]])
def test_an_image_counts_the_same_alone_and_beside_any_others(task, batch, mates):
    whole, part = count(task, batch), count(task, some(batch, mates))
    for name in whole:
        assert torch.equal(part[name], whole[name][mates])
    assert whole["correct_draws"].float().std() > 0  # some are decided sooner


def test_each_draw_is_the_noise_of_its_number(task, batch):
    counted = count(task, batch)
    for place, index in enumerate(batch["index"].tolist()):
        one = some(batch, [place])
        right = torch.cat(
            [
                task.yes_or_no(task.decide_on(Noise()(one["image"], own), one), one)["correct"]
                for own in (Streams(0, (index,), ("certificate", number)) for number in range(80))
            ]
        )
        for yes, draws in zip(counted["correct_yes"][place], counted["correct_draws"][place], strict=True):
            assert right[:draws].sum() == yes


def test_places_of_decided_images_go_to_the_others_and_all_batches_are_of_one_size(task, batch):
    noise, waiting = Noise(), []
    counted = count(task, batch, noise, tell=waiting.append)
    assert waiting == sorted(waiting, reverse=True)
    assert waiting[0] > waiting[-1] > 0
    assert set(noise.sizes) == {4}
    needed = counted["correct_draws"].amax(1)
    assert needed.max() > 2 * needed.min()
    assert len(noise.sizes) < needed.max()


def test_images_that_fill_a_batch_up_draw_nothing(task, batch):
    filled = some(batch, [0, 1, 1, 1])
    counted, alone = count(task, filled, real=2), count(task, some(batch, [0, 1]))
    for name in counted:
        assert torch.equal(counted[name][:2], alone[name])
        assert len(counted[name]) == 4


def test_no_label_that_is_not_known_is_asked_about(batch):
    task = dds.tasks.MultiLabelClassification(TinyClassifier())
    labels = torch.tensor([[1.0, 0, -1, 1], [-1, -1, -1, -1], [0, 0, 0, 0], [1, 1, 1, -1]])
    counted = count(task, {**batch, "labels": labels})
    yes = counted["labels_right_yes"].reshape(4, 2, 4)
    assert ((yes < 0) == (labels < 0)[:, None]).all()
    assert counted["labels_right_draws"][1].tolist() == [0, 0]
    assert (counted["labels_right_draws"][[0, 2, 3]] > 0).all()


def test_own_streams_are_those_of_their_purpose(images):
    own = OwnStreams(3, (7, 8, 7, 7), (), (("a", 1), ("b", 2), ("a", 2), ("a", 1)))
    drawn = own.child("x").normal(images)
    for row, index, path in ((0, 7, ("a", 1)), (1, 8, ("b", 2)), (2, 7, ("a", 2))):
        assert torch.equal(drawn[row], Streams(3, (index,), (*path, "x")).normal(images[:1])[0])
    assert torch.equal(drawn[0], drawn[3])
    assert not torch.equal(drawn[0], drawn[2])
