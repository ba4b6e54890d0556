import numpy as np
import pytest
from scipy.stats import binom, norm

from dds.certificates import median_interval, median_lower_bound, median_places


@pytest.mark.parametrize(
    ("sigma", "radius", "draws", "alpha", "expected"),
    [(0.25, 0.36, 2000, 1e-5, (102, 1899)), (0.25, 0.25, 200, 1e-3, (17, 184))],
)
def test_places_counted_from_one(sigma, radius, draws, alpha, expected):
    assert median_places(draws, radius / sigma, alpha) == expected


def test_too_few_draws_bound_nothing():
    assert median_places(5, 1, 0.001) == (0, 6)
    low, high = median_interval(np.ones((5, 2)), 1, 0.001)
    assert (low == -np.inf).all()
    assert (high == np.inf).all()
    assert median_lower_bound(np.ones(5), 1, 0.001) == -np.inf


@pytest.mark.parametrize("ratio", [0, 0.3, 1])
def test_places_err_as_seldom_as_said_and_the_next_do_not(ratio):
    """A quantile lies above the q-th draw if fewer than q draws lie below it."""
    n, alpha = 300, 0.01
    lower, upper = median_places(n, ratio, alpha)
    assert binom.cdf(lower - 1, n, norm.cdf(-ratio)) < alpha <= binom.cdf(lower, n, norm.cdf(-ratio))
    assert binom.sf(upper - 1, n, norm.cdf(ratio)) < alpha <= binom.sf(upper - 2, n, norm.cdf(ratio))


@pytest.mark.parametrize("dimension", [1, 1000])
@pytest.mark.parametrize("sigma", [0.25, 1.0])
def test_a_linear_regressor_whose_worst_case_is_known(dimension, sigma):
    """The median of `w x + noise` is `w x`, and moves by r |w| at most."""
    rng = np.random.default_rng(dimension)
    weights, r = rng.standard_normal((3, dimension)), 0.6 * sigma
    values = sigma * rng.standard_normal((1000, dimension)) @ weights.T  # (n, 3) at the image 0
    low, high = median_interval(values, r / sigma, 0.001)
    worst = r * np.linalg.norm(weights, axis=1)
    assert (low <= -worst).all()
    assert (high >= worst).all()
    assert (np.maximum(-low, high) < 1.6 * worst).all()


def test_medians_leave_their_bounds_no_more_often_than_alpha():
    values = np.random.default_rng(0).standard_normal((1000, 100, 4))
    bounds = [median_interval(one, 0.25, 0.2) for one in values]
    wrong = np.mean([(low > -0.25).any() or (high < 0.25).any() for low, high in bounds])
    assert 0.02 < wrong <= 0.2


def test_a_score_is_bounded_by_the_same_place():
    scores = np.random.default_rng(0).random(200)
    assert median_lower_bound(scores, 1, 0.001) == np.sort(scores)[16]
    assert median_lower_bound(scores, 1, 0.001) == median_interval(scores, 1, 0.002)[0]
