import numpy as np
import pytest
from scipy.stats import binomtest, norm

from dds.certificates import draws_needed, holding, holm, largest_radius, linf_radius, radius


@pytest.mark.parametrize(
    ("agreeing", "draws", "expected"),
    [
        (100, 100, 1.5005),
        (600, 1000, 0.1284),
        (990, 1000, 1.9780),
        (1000, 1000, 2.4633),
        (9900, 10000, 2.2124),
        (10000, 10000, 3.1986),
        (99000, 100000, 2.2900),
    ],
)
@pytest.mark.parametrize("sigma", [1, 0.25])
def test_radii_of_votes(agreeing, draws, expected, sigma):
    assert radius(agreeing, draws, sigma, 0.001) == pytest.approx(sigma * expected, abs=6e-5)


def test_a_vote_without_a_sure_majority_abstains():
    assert np.isnan(radius([0, 50, 60], [100, 100, 100], 0.5, 0.001)).all()


@pytest.mark.parametrize(
    ("pixels", "alpha", "draws"), [(64 * 64, 1e-3, 53), (96 * 128, 1e-3, 57), (512 * 512, 1e-4, 76)]
)
def test_agreeing_draws_that_are_enough_for_an_image(pixels, alpha, draws):
    assert draws_needed(norm.ppf(0.75), alpha, pixels) == draws
    assert holding(np.full(pixels, draws), draws, 0.75, alpha).all()
    assert not holding(np.full(pixels, draws - 1), draws - 1, 0.75, alpha).any()


def test_answers_are_tested_as_scipy_does_and_corrected_as_holm_did():
    counts = np.array([[100, 85, 0], [97, 90, 88]])
    chances = [binomtest(k, 100, 0.75, alternative="greater").pvalue for k in counts.ravel()]
    expected, still = np.zeros(6, dtype=bool), True
    for place, one in enumerate(np.argsort(chances)):
        still = still and chances[one] <= 0.01 / (6 - place)
        expected[one] = still
    assert (holding(counts, 100, 0.75, 0.01).ravel() == expected).all()
    assert 0 < expected.sum() < 6


def test_holm_stops_at_the_first_that_fails():
    assert holm([0.001, 0.04, 0.03, 0.02], 0.05).tolist() == [True, False, False, False]
    assert holm([0.01, 0.04, 0.02, 0.012], 0.05).tolist() == [True, True, True, True]


def test_a_pixel_that_does_not_hold_is_kept_no_more_often_than_alpha():
    rng, alpha = np.random.default_rng(0), 0.1
    counts = rng.binomial(200, np.r_[np.full(50, 0.75), np.full(50, 0.99)], (1000, 100))
    wrong = np.mean([holding(one, 200, 0.75, alpha)[:50].any() for one in counts])
    assert alpha / 10 < wrong <= alpha
    assert holding(counts[0], 200, 0.75, alpha)[50:].all()


@pytest.mark.parametrize("dimension", [1, 10, 1000])
@pytest.mark.parametrize("sigma", [0.25, 1.0])
def test_the_radius_of_a_linear_classifier_is_its_distance_to_the_border(dimension, sigma):
    rng = np.random.default_rng(dimension)
    weights = rng.standard_normal(dimension)
    distance, length = 1.3 * sigma, np.linalg.norm(weights)
    image = distance * weights / length
    agreeing = ((image + sigma * rng.standard_normal((2000, dimension))) @ weights > 0).sum()
    assert 0.8 * distance < radius(agreeing, 2000, sigma, 0.001) <= distance


def test_what_can_be_proved_at_all():
    assert largest_radius(1000, 0.5, 0.001) == pytest.approx(0.5 * 2.4633, abs=5e-5)
    assert largest_radius(5, 1, 0.001) < 0
    assert draws_needed(50, 0.001) == np.inf
    for ratio in (0.5, 1, 2):
        draws = int(draws_needed(ratio, 0.001))
        assert radius(draws, draws, 1, 0.001) >= ratio > radius(draws - 1, draws - 1, 1, 0.001)


@pytest.mark.parametrize(("side", "l2"), [(32, 1.74), (64, 3.48), (224, 12.2)])
def test_what_an_l2_radius_says_of_linf(side, l2):
    assert linf_radius(l2, side, side) == pytest.approx(8 / 255, rel=5e-3)
