import numpy as np
import pytest
from scipy.stats import binom, norm

from dds.certificates import (
    Asked,
    Ballot,
    anytime_radius,
    draws_until_certain,
    median_interval,
    verdict,
    verdict_together,
)


def poll(answers, asked):
    """Count rows of answers `[N, Q]` until all is decided."""
    ballot = Ballot(np.ones(answers.shape[1], dtype=bool), asked)
    for row in answers:
        if not ballot.is_open:
            break
        ballot.take(row)
    return ballot


@pytest.mark.parametrize(("ratio", "draws"), [(0.5, 25), (1, 55), (2, 459)])
def test_draws_until_all_that_agree_are_certain(ratio, draws):
    assert draws_until_certain(ratio, 0.001) == draws
    assert draws_until_certain(50, 0.001) == np.inf


def test_one_answer_is_decided_as_if_it_were_alone():
    draws = 60
    agreeing = np.arange(draws + 1)
    together = [verdict_together([one], draws, 0.7, 0.01)[0] for one in agreeing]
    assert together == verdict(agreeing, draws, 0.7, 0.01).tolist()
    assert set(together) == {"certified", "given up", "open"}


def test_each_radius_is_counted_until_it_is_decided():
    ballot = poll(np.ones((100, 1)), Asked((0.5, 1.0), 0.001, 0, 100))
    assert ballot.draws.tolist() == [25, 55]
    assert ballot.yes.tolist() == [[25], [55]]
    ended = poll(np.ones((100, 1)), Asked((0.5, 1.0), 0.001, 0, 40))
    assert ended.draws.tolist() == [25, 40]


def test_what_does_not_count_is_not_counted():
    ballot = Ballot(np.array([True, False]), Asked((0.5,), 0.001, 0, 100))
    for _ in range(25):
        ballot.take(np.array([1.0, np.nan]))
    assert not ballot.is_open
    assert ballot.yes.tolist() == [[25, -1]]
    assert not Ballot(np.array([False]), Asked((0.5,), 0.001, 0, 100)).is_open


@pytest.mark.parametrize("questions", [1, 3])
def test_what_does_not_hold_is_certified_no_more_often_than_alpha(questions):
    """At the boundary, stopped when decided, all questions about an image together."""
    rng, asked = np.random.default_rng(0), Asked((0.5,), 0.2, 0, 80)
    answers = rng.random((150, 60, questions)) < norm.cdf(0.5)
    wrong = []
    for of_image in answers:
        ballot = poll(of_image, asked)
        verdicts = verdict_together(ballot.yes[0], int(ballot.draws[0]), 0.5, 0.2)
        wrong.append((verdicts == "certified").any())
    assert 0 < np.mean(wrong) <= 0.2


@pytest.mark.parametrize("dimension", [1, 30, 1000])
@pytest.mark.parametrize("sigma", [0.25, 1.0])
def test_a_linear_classifier_holds_as_far_as_its_border_and_no_farther(dimension, sigma):
    rng = np.random.default_rng(dimension)
    normal = rng.standard_normal(dimension)
    normal /= np.linalg.norm(normal)
    distance = 1.2 * sigma
    right = ((distance * normal + sigma * rng.standard_normal((1500, dimension))) @ normal > 0)[:, None]
    asked = Asked((0.6, 1.5), 0.001, 0, 1500)  # within the distance, and beyond
    ballot = poll(right, asked)
    verdicts = [
        verdict_together(yes, int(draws), ratio, 0.001)[0]
        for yes, draws, ratio in zip(ballot.yes, ballot.draws, asked.ratios, strict=True)
    ]
    assert verdicts == ["certified", "given up"]
    assert 0.6 * sigma <= anytime_radius(ballot.yes[0, 0], ballot.draws[0], sigma, 0.001) <= distance


@pytest.mark.parametrize("dimension", [1, 1000])
def test_the_worst_median_of_a_linear_regressor_lies_in_its_interval(dimension):
    """Moved by r along its weights w, its median moves by r |w|, and cannot by more."""
    rng, sigma, ratio, alpha = np.random.default_rng(dimension), 0.3, 0.7, 0.2
    weights = rng.standard_normal(dimension)
    slope, missed, width = np.linalg.norm(weights), 0, []
    for _ in range(200):
        values = sigma * rng.standard_normal((120, dimension)) @ weights
        low, high = median_interval(values[:, None], ratio, alpha)
        missed += not low[0] <= -ratio * sigma * slope <= ratio * sigma * slope <= high[0]
        width.append((high[0] - low[0]) / (2 * ratio * sigma * slope))
    assert missed <= binom.ppf(0.999, 200, alpha)
    assert np.mean(width) < 2
