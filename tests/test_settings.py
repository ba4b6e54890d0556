"""Settings that cannot be meant: refused, or said in one line of the plan."""

import numpy as np
import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork, TinySegmenter
from torch import nn

from dds.attacks import APGD, MIFGSM, PGD, SIA, ArtAttack, AutoAttack, LowFrequency, WorstOf
from dds.callbacks import AttackAndPurify
from dds.errors import InputError
from dds.purifiers import DiffusionDenoiser
from dds.tasks import Classification, MultiLabelClassification, SemanticSegmentation


@pytest.mark.parametrize(
    "attack",
    [
        PGD(eps=8),
        APGD(eps="8"),
        MIFGSM(eps=8.0),
        SIA(eps=8),
        AutoAttack(eps=8),
        ArtAttack("art.attacks.evasion.FastGradientMethod", eps=8),
        WorstOf({"pgd": PGD(eps=8)}),
        LowFrequency(PGD(eps=8)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_budget_in_grey_levels(attack):
    with pytest.raises(InputError, match=r"attack a has eps=8; .*mean 8/255\?"):
        AttackAndPurify(attacks={"a": attack})


def test_a_budget_in_l2_may_be_larger_than_one():
    assert AttackAndPurify(attacks={"a": PGD(eps=2, norm="l2")}).attacks


@pytest.mark.parametrize(
    "given",
    [
        {"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]},
        {"mean": [0.5, 0.5, 0.5], "std": [58.4, 57.1, 57.4]},
        {"mean": [-1.0], "std": [1.0]},
        {"mean": [0.5], "std": [0.0]},
        {"mean": [float("nan")], "std": [1.0]},
    ],
)
def test_normalisation_of_other_ranges(given):
    with pytest.raises(InputError, match=r"expected values in \[0, 1\]"):
        Classification(TinyClassifier(), **given)


@pytest.mark.parametrize("array", [np.array, torch.tensor, tuple])
def test_normalisation_may_be_an_array(array):
    task = Classification(TinyClassifier(), mean=array([0.1, 0.2, 0.3]), std=array([0.5]))
    assert task.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert task.std.flatten().tolist() == [0.5] * 3


def test_normalisation_in_grey_levels_is_recognised():
    with pytest.raises(InputError, match=r"Did you mean \[0.4851, 0.4561, 0.4059\] and"):
        Classification(TinyClassifier(), mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4])


def caption(**options):
    return AttackAndPurify(DiffusionDenoiser(TinyNoiseNetwork()), **options).describe().caption


def test_a_purifier_that_is_not_evaluated():
    assert "the purifier is not evaluated" in caption(noise_levels=[0])
    assert "the purifier is not evaluated" in caption(noise_levels=[])
    assert caption(noise_levels=[50], attacks={"pgd": PGD()}) is None


def test_steps_of_many_times_the_budget():
    assert "is 8 times eps" in caption(noise_levels=[50], attacks={"pgd": PGD("1/255", "8/255")})


@pytest.mark.parametrize(
    ("task", "network", "image"),
    [
        (Classification, nn.Sequential(TinyClassifier(), nn.Softmax(1)), (2, 3, 8, 8)),
        (SemanticSegmentation, nn.Sequential(TinySegmenter(), nn.Softmax(1)), (2, 3, 8, 8)),
    ],
)
def test_probabilities_in_place_of_logits(task, network, image):
    task = task(network)
    with pytest.raises(InputError, match="returns probabilities"):
        task.check_output(task(torch.rand(image)))
    task.check_output(task(torch.rand(image)).log())


@pytest.mark.parametrize(
    ("task", "outputs"), [(Classification, 1), (Classification, 4), (MultiLabelClassification, 4)]
)
def test_probabilities_of_single_answers(task, outputs):
    network = nn.Sequential(TinyClassifier(), nn.Linear(4, outputs), nn.Sigmoid())
    task = task(network)
    with pytest.raises(InputError, match="as after a sigmoid"):
        task.check_output(task(torch.rand(2, 3, 8, 8)))
    network[2] = nn.Identity()
    task.check_output(task(torch.rand(2, 3, 8, 8)))
