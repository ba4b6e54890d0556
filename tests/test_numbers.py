import math

import numpy as np
import pytest
import torch
from conftest import TinyNoiseNetwork

import dds
from dds.numbers import number_of_images, pixels, real, whole
from dds.purifiers import DiffusionDenoiser


@pytest.mark.parametrize("given", [50, 50.0, np.int64(50), np.float32(50), torch.tensor(50), np.array(50)])
def test_whole_numbers_of_any_kind(given):
    assert whole("steps", given) == 50
    assert type(whole("steps", given)) is int


@pytest.mark.parametrize("given", [None, True, "50", 2.5, math.nan, math.inf, [50], np.array([50]), 0])
def test_what_is_no_whole_number_is_refused_by_name(given):
    with pytest.raises(dds.InputError, match="steps=.*whole number of at least 1"):
        whole("steps", given)


@pytest.mark.parametrize("given", [0.5, "1/2", "0.5", np.float32(0.5), torch.tensor(0.5)])
def test_numbers_of_any_kind(given):
    assert real("eta", given) == pixels("eps", given) == 0.5
    assert type(real("eta", given)) is float


@pytest.mark.parametrize("given", [None, True, "much", "1/0", math.nan, math.inf, [0.5]])
def test_what_is_no_number_is_refused_by_name(given):
    with pytest.raises(dds.InputError, match="eta="):
        real("eta", given)


def test_one_image_is_no_plural():
    assert [number_of_images(count) for count in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def protocol(**settings):
    return dds.AttackAndPurify(DiffusionDenoiser(TinyNoiseNetwork()), **{"noise_levels": [10], **settings})


@pytest.mark.parametrize(
    "levels",
    [
        [10, 50],
        [10.0, 50.0],
        np.array([10, 50]),
        np.linspace(10, 50, 2),
        list(np.arange(10, 60, 40)),
        (10, 50),
    ],
)
def test_noise_levels_of_numpy(levels):
    made = protocol(noise_levels=levels, attacks={"pgd": dds.attacks.PGD(steps=np.int64(2))})
    assert [defence.name for defence in made.defences.all] == ["t10", "t50"]
    assert made.cost.task.backward == 3 * 2  # none, and the two levels that `same` sees


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"noise_levels": [None]}, "noise level=None"),
        ({"noise_levels": [0.25]}, r"write {sigma: 0.25}"),
        ({"noise_levels": [10.5]}, "whole number"),
        ({"noise_levels": [[10]]}, "whole number"),
        ({"noise_levels": [True]}, "whole number"),
        ({"noise_levels": 50}, r"expected a list, such as \[50\]"),
        ({"noise_levels": "50"}, r"expected a list, such as \[50\]"),
        ({"noise_levels": [{"sigma": None}]}, "sigma=None"),
        ({"noise_levels": [{"sigma": "much"}]}, "sigma='much'"),
        ({"attacker_sees": "same"}, r"expected a list, such as \[same\]"),
        ({"attacker_sees": [None]}, "whole number"),
        ({"draws": None}, "draws=None"),
        ({"draws": 1.5}, "draws=1.5"),
        ({"seed": "a"}, "seed=a"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(settings, words):
    with pytest.raises(dds.InputError, match=words):
        protocol(**settings)


def test_a_seed_of_numpy_gives_the_same_numbers(images):
    seeds = [protocol(seed=seed).seed for seed in (7, np.int64(7), 7.0)]
    drawn = [dds.noise.Streams(seed, (0, 1, 2, 3)).normal(images) for seed in seeds]
    assert all(torch.equal(one, drawn[0]) for one in drawn)
