import numpy as np
import pytest
from scipy.stats import norm

from dds.certificates import (
    betting,
    certify_data_set,
    certify_image,
    distribution_form,
    dvoretzky_kiefer_wolfowitz,
    mean_form,
)
from dds.errors import InputError


def test_both_forms_of_known_probabilities():
    assert distribution_form([0.5, 1], [0.99, 0.9], 1) == pytest.approx(0.75925, abs=5e-6)
    assert mean_form(0.945, 1) == pytest.approx(0.72514, abs=5e-6)


@pytest.mark.parametrize(("ratio", "expected"), [(1, 0.92830), (2, 0.67841)])
def test_a_thousand_of_a_thousand_right(ratio, expected):
    certified = certify_image(np.ones(1000), [ratio], 0.001, zero_or_one=True)
    assert certified == pytest.approx(expected, abs=5e-6)


def test_the_distribution_proves_no_less_than_the_mean():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, chances = np.sort(rng.random(5)), np.sort(rng.random(5))[::-1]
        mean = np.diff(scores, prepend=0) @ chances
        assert distribution_form(scores, chances, 0.7) >= mean_form(mean, 0.7) - 1e-12


def linear_answers(rng, margin, sigma, dimension, draws):
    """Whether a linear classifier is right on noisy images whose distance to its border is the margin."""
    weights = rng.standard_normal(dimension)
    weights /= np.linalg.norm(weights)
    noisy = margin * weights + sigma * rng.standard_normal((draws, dimension))
    return noisy @ weights > 0


@pytest.mark.parametrize("sigma", [0.25, 1.0])
@pytest.mark.parametrize("dimension", [1, 10, 1000])
def test_a_linear_classifier_in_closed_form(dimension, sigma):
    """The worst move is straight to the border, so its expected score is known."""
    ratios = np.array([0, 0.5, 1, 1.5])
    right = linear_answers(np.random.default_rng(dimension), 1.5 * sigma, sigma, dimension, 1000)
    truth = norm.cdf(1.5 - ratios)
    certified = certify_image(right, ratios, 0.001, zero_or_one=True)
    assert (certified <= truth).all()
    assert (certified >= truth - 0.1).all()


@pytest.mark.parametrize("dimension", [1, 10, 1000])
def test_a_data_set_for_a_linear_classifier_in_closed_form(dimension):
    ratios, margins = np.array([0, 0.5, 1]), np.linspace(-1, 4, 12)
    rng = np.random.default_rng(dimension)
    right = np.stack([linear_answers(rng, margin, 1, dimension, 200) for margin in margins], axis=1)
    truth = norm.cdf(margins - ratios[:, None]).mean(1)
    certified = certify_data_set(right, ratios, 0.001, thresholds=1)
    assert (certified <= truth).all()
    assert (certified >= truth - 0.1).all()


def regressor_scores(rng, shape, moved=0.0):
    """The score of a regressor whose error grows along one direction: its worst case is to move there."""
    return norm.cdf(1.2 + 0.8 * (rng.standard_normal(shape) - moved))


@pytest.mark.parametrize("draws", [100, 400])
def test_a_regressor_whose_worst_case_is_known(draws):
    rng, ratios = np.random.default_rng(0), np.array([0.25, 0.5, 1, 2])
    truth = np.array([norm.cdf((1.2 - 0.8 * ratio) / np.hypot(1, 0.8)) for ratio in ratios])
    one = certify_image(regressor_scores(rng, draws), ratios, 0.001)
    all_images = certify_data_set(regressor_scores(rng, (draws, 20)), ratios, 0.001)
    assert (one <= truth).all()
    assert (all_images <= truth).all()
    assert (all_images > one).all()
    assert (all_images[:3] >= truth[:3] - 0.1).all()


@pytest.mark.parametrize("zero_or_one", [True, False])
def test_images_are_certified_wrongly_no_more_often_than_alpha(zero_or_one):
    rng, alpha, repetitions, ratios = np.random.default_rng(0), 0.1, 500, np.array([0.25, 1])
    scores = rng.random((repetitions, 40)) < 0.9 if zero_or_one else regressor_scores(rng, (repetitions, 40))
    known = norm.cdf(norm.ppf(0.9) - ratios), norm.cdf((1.2 - 0.8 * ratios) / np.hypot(1, 0.8))
    certified = np.array([certify_image(row, ratios, alpha, zero_or_one) for row in scores])
    wrong = (certified > known[0 if zero_or_one else 1]).any(1).mean()
    assert wrong <= alpha


def test_data_sets_are_certified_wrongly_no_more_often_than_alpha():
    rng, alpha, chances = np.random.default_rng(0), 0.3, np.array([0.5, 0.9, 0.98])
    truth = norm.cdf(norm.ppf(chances) - 1).mean()
    bounds = [certify_data_set(rng.random((20, 3)) < chances, [1], alpha, 1)[0] for _ in range(60)]
    assert np.mean(np.array(bounds) > truth) <= alpha


def test_a_mean_over_images_is_not_certified_by_scores_that_go_together():
    """All images wrong in one draw of three: what holds of independent draws would be too much."""
    alike = np.repeat((np.arange(30) % 3 > 0)[:, None] * 1.0, 50, axis=1)
    assert certify_data_set(alike, [0], 0.001, 1)[0] <= 2 / 3


def test_more_is_proved_of_a_data_set_than_image_by_image():
    rng = np.random.default_rng(0)
    for scores in (rng.random((100, 32)) < rng.beta(6, 1.5, 32), rng.beta(58, 25, (100, 32))):
        whole = certify_data_set(scores, [1], 0.001)
        each = np.mean([certify_image(one, [1], 0.001 / 32) for one in scores.T])
        assert whole > each + 0.1


def test_ranks_prove_more_than_the_mean_and_than_a_band():
    rng, ratio, alpha = np.random.default_rng(0), 1, 0.001
    band = dvoretzky_kiefer_wolfowitz(100, alpha)
    for a, b in ((58, 25), (5.8, 2.5), (20, 5), (97, 3)):
        scores = np.sort(rng.beta(a, b, 100))
        within_band = np.clip(1 - np.arange(100) / 100 - band, 0, 1)
        certified = certify_image(scores, [ratio], alpha)[0]
        assert certified > distribution_form(scores, within_band, ratio) + 0.04
        assert certified > mean_form(betting(scores, alpha), ratio)


def test_certificates_fall_with_the_radius():
    scores = np.random.default_rng(0).beta(8, 2, (60, 10))
    for certified in (
        certify_image(scores[:, 0], [0, 0.3, 1, 2.5], 0.01),
        certify_data_set(scores, [0, 0.3, 1, 2.5], 0.01),
    ):
        assert (np.diff(certified) < 0).all()
        assert certified.min() >= 0


def test_thresholds_make_no_difference_where_scores_are_0_or_1():
    right = np.random.default_rng(0).random((30, 8)) < 0.9
    assert certify_data_set(right, [0.5], 0.01, 1) == pytest.approx(
        certify_data_set(right, [0.5], 0.01), abs=1e-5
    )


def test_one_draw_is_enough_for_something_valid():
    assert 0 <= certify_image([0.7], [1], 0.001)[0] < 0.01
    assert 0 <= certify_data_set([[0.7, 1.0]], [1], 0.001)[0] < 0.5


def test_bad_scores_and_radii():
    with pytest.raises(InputError, match=r"scores span \[0.2, 1.3\]"):
        certify_image([0.2, 1.3], [1], 0.01)
    with pytest.raises(InputError, match="0 or 1 was said"):
        certify_image([0.2, 1], [1], 0.01, zero_or_one=True)
    with pytest.raises(InputError, match=r"radii of \[-1.0\] sigma"):
        certify_data_set([[0.2]], [-1], 0.01)
    with pytest.raises(InputError, match="no draws"):
        certify_image([], [1], 0.01)
