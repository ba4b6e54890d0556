import numpy as np
import pytest
from scipy.stats import norm

from dds.certificates import anytime_lower_bound, anytime_radius, clopper_pearson, evidence, verdict


def first_decided(agrees, ratio, alpha):
    """The number of draws after which rows of draws `[B, N]` are decided, and how; N + 1: not."""
    counts, numbers = agrees.cumsum(1), np.arange(1, agrees.shape[1] + 1)
    verdicts = verdict(counts, numbers, ratio, alpha)
    decided = verdicts != "open"
    first = np.where(decided.any(1), decided.argmax(1), agrees.shape[1])
    padded = np.concatenate([verdicts, np.full((len(agrees), 1), "open", dtype=verdicts.dtype)], axis=1)
    return first + 1, padded[np.arange(len(agrees)), first]


@pytest.mark.parametrize(("ratio", "draws"), [(0.5, 25), (1, 55), (2, 459)])
def test_draws_needed_if_all_agree(ratio, draws):
    assert first_decided(np.ones((1, 500)), ratio, 0.001) == ([draws], ["certified"])


@pytest.mark.parametrize(("p", "expected"), [(0.99, 67), (0.95, 155), (0.9, 707)])
def test_mean_number_of_draws_until_decided(p, expected):
    agrees = np.random.default_rng(0).random((1000, 6000)) < p
    draws, verdicts = first_decided(agrees, 1, 0.001)
    assert draws.mean() == pytest.approx(expected, rel=0.05)
    assert (verdicts == "certified").mean() > 0.93


@pytest.mark.parametrize(
    ("agreeing", "draws", "expected"),
    [(100, 100, 1.3213), (990, 1000, 1.8527), (1000, 1000, 2.2947), (10000, 10000, 3.0337)],
)
def test_anytime_radii(agreeing, draws, expected):
    assert anytime_radius(agreeing, draws, 1, 0.001) == pytest.approx(expected, abs=5e-5)
    assert anytime_radius(agreeing, draws, 0.25, 0.001) == pytest.approx(expected / 4, abs=2e-5)


def test_evidence_by_its_formula():
    from math import gamma, log, pi

    expected = log(gamma(3.5) * gamma(1.5) / gamma(5) / pi) - 3 * log(0.7) - log(0.3)
    assert evidence(3, 4, 0.7) == pytest.approx(expected)


def test_what_does_not_hold_is_certified_at_any_time_no_more_often_than_alpha():
    """At the boundary, and looked at after each of 2,000 draws."""
    agrees = np.random.default_rng(0).random((2000, 2000)) < norm.cdf(0.5)
    _, verdicts = first_decided(agrees, 0.5, 0.05)
    ever = (verdict(agrees.cumsum(1), np.arange(1, 2001), 0.5, 0.05) == "certified").any(1)
    assert 0 < ever.mean() <= 0.05
    assert (verdicts == "given up").mean() <= 0.05


def test_what_is_far_from_holding_is_given_up_soon():
    draws, verdicts = first_decided(np.random.default_rng(0).random((200, 300)) < 0.5, 1, 0.001)
    assert (verdicts == "given up").all()
    assert draws.mean() < 20


def test_bounds_at_any_time_are_below_those_at_a_fixed_time():
    agreeing = np.arange(101)
    anytime, fixed = anytime_lower_bound(agreeing, 100, 0.001), clopper_pearson(agreeing, 100, 0.001)
    assert (anytime <= fixed).all()
    assert anytime[-1] > fixed[-1] - 0.03


def test_no_radius_without_a_majority():
    assert np.isnan(anytime_radius([0, 50, 60], 100, 0.5, 0.001)).all()
    assert anytime_lower_bound(0, 0, 0.001) == 0
