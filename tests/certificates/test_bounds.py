import numpy as np
import pytest
from scipy.stats import binom, binomtest

from dds.certificates import betting, clopper_pearson, dvoretzky_kiefer_wolfowitz, empirical_bernstein
from dds.errors import InputError


@pytest.mark.parametrize(
    ("k", "n", "alpha"), [(0, 7, 0.05), (1, 1, 0.1), (63, 100, 0.001), (990, 1000, 0.01)]
)
def test_clopper_pearson_is_scipys(k, n, alpha):
    exact = binomtest(k, n).proportion_ci(1 - 2 * alpha, method="exact").low  # one side of two
    assert clopper_pearson(k, n, alpha) == pytest.approx(exact, abs=1e-9)


def test_clopper_pearson_of_a_thousand_right():
    assert clopper_pearson(1000, 1000, 0.001) == pytest.approx(0.993116, abs=1e-6)


def test_clopper_pearson_takes_arrays():
    assert clopper_pearson([[0, 5], [10, 3]], 10, 0.1).shape == (2, 2)


@pytest.mark.parametrize(("draws", "expected"), [(100, 0.18585), (1000, 0.05877), (10000, 0.01858)])
def test_width_of_a_band_around_a_distribution(draws, expected):
    assert dvoretzky_kiefer_wolfowitz(draws, 0.001) == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize(("p", "n", "alpha"), [(0.9, 30, 0.05), (0.5, 50, 0.01), (0.95, 200, 0.1)])
def test_clopper_pearson_errs_as_often_as_it_may(p, n, alpha):
    counts = np.arange(n + 1)
    wrong = binom.pmf(counts, n, p)[clopper_pearson(counts, n, alpha) > p].sum()
    assert alpha / 5 < wrong <= alpha


DISTRIBUTIONS = {
    "0 or 1": (0.8, lambda rng, shape: rng.random(shape) < 0.8),
    "beta": (0.7, lambda rng, shape: rng.beta(7, 3, shape)),
    "skewed": (0.05, lambda rng, shape: rng.beta(0.5, 9.5, shape)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("bound", [betting, empirical_bernstein])
def test_bounds_are_above_the_mean_no_more_often_than_alpha(bound, name):
    mean, draw = DISTRIBUTIONS[name]
    alpha, repetitions = 0.1, 200
    wrong = sum(bound(row, alpha) > mean for row in draw(np.random.default_rng(0), (repetitions, 40)) * 1.0)
    assert wrong <= repetitions * alpha


def test_betting_errs_no_more_often_where_draws_are_not_alike():
    means = np.linspace(0.3, 1, 40)
    draws = (np.random.default_rng(1).random((200, 40)) < means) * 1.0
    assert sum(betting(row, 0.1) > means.mean() for row in draws) <= 20


def test_betting_proves_more_than_hoeffding_and_bernstein():
    rng = np.random.default_rng(0)
    for n in (30, 100, 1000):
        for a, b in ((7, 3), (58, 25), (97, 3)):
            draws = rng.beta(a, b, n)
            hoeffding = draws.mean() - np.sqrt(np.log(1000) / (2 * n))
            assert betting(draws, 0.001) > max(hoeffding, empirical_bernstein(draws, 0.001))


def test_betting_does_not_hang_on_the_order_of_the_draws():
    draws = np.random.default_rng(0).random(100)
    assert betting(draws, 0.01) == pytest.approx(betting(draws[::-1], 0.01))


def test_nothing_is_proved_by_zeros():
    assert betting(np.zeros(50), 0.01) == 0
    assert empirical_bernstein(np.zeros(50), 0.01) == 0


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan")])
def test_an_alpha_that_is_no_probability_of_error(alpha):
    with pytest.raises(InputError, match=f"alpha={alpha}; expected"):
        clopper_pearson(1, 2, alpha)


def test_scores_out_of_range():
    with pytest.raises(InputError, match=r"scores span \[0.5, 1.2\]; expected \[0, 1\]"):
        empirical_bernstein([0.5, 1.2], 0.1)
    with pytest.raises(InputError, match="1 draws; expected at least 2"):
        empirical_bernstein([0.5], 0.1)
