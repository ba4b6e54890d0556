import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TinyClassifier, art_classifier

from dds.attacks import MIFGSM
from dds.errors import InputError
from dds.noise import Streams

LABELS = torch.tensor([0, 1, 2, 3])
STREAMS = Streams(0, (0, 1, 2, 3))


def loss_of(network):
    return lambda image, streams: F.cross_entropy(network(image), LABELS, reduction="none")


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_equals_adversarial_robustness_toolbox(images, decay):
    from art.attacks.evasion import MomentumIterativeMethod

    network = TinyClassifier()
    reference = MomentumIterativeMethod(
        art_classifier(network), eps=8 / 255, eps_step=0.8 / 255, max_iter=10, decay=decay, verbose=False
    )
    expected = torch.from_numpy(reference.generate(images.numpy(), np.eye(4)[LABELS.numpy()]))
    got = MIFGSM("8/255", decay=decay)(images, loss_of(network.requires_grad_(False)), STREAMS)
    assert (got - images).abs().max() > 7 / 255
    assert torch.allclose(got, expected, atol=1e-5)


def test_no_gradient_no_step(images):
    assert torch.equal(MIFGSM()(images, lambda image, streams: 0 * image.flatten(1).sum(1), STREAMS), images)


def test_momentum_of_an_image_does_not_depend_on_the_batch(images):
    network = TinyClassifier().requires_grad_(False)
    together = MIFGSM(eot=2)(images, loss_of(network), STREAMS)
    one = lambda image, streams: F.cross_entropy(network(image), LABELS[2:3], reduction="none")  # noqa: E731
    assert torch.allclose(MIFGSM(eot=2)(images[2:3], one, Streams(0, (2,))), together[2:3], atol=1e-6)


def test_plans_exactly_the_calls_it_makes(images):
    seen = []
    attack = MIFGSM(steps=3, eot=2)
    attack(images, lambda image, streams: (seen.append(1), image.flatten(1).sum(1))[1], STREAMS)
    assert attack.calls.forward == attack.calls.backward == len(seen) == 6


@pytest.mark.parametrize("arguments", [{"eps": -1}, {"steps": 0}, {"eot": 0}, {"step_size": "x"}])
def test_bad_arguments(arguments):
    with pytest.raises(InputError):
        MIFGSM(**arguments)
