import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_average_precision

from dds.metrics.average_precision import average_precision, mean_over_classes

ONCE = np.ones((1, 40))


def random_ranking(seed, count=40):
    random = np.random.default_rng(seed)
    return random.integers(0, 12, count) / 12, random.random(count) < 0.4, random.integers(0, 4, (5, count))


def area_of_torchmetrics(scores, positive):
    return binary_average_precision(torch.tensor(scores), torch.tensor(positive).long()).item()


@pytest.mark.parametrize("seed", range(5))
def test_area_equals_torchmetrics_on_the_resampled_items(seed):
    scores, positive, weights = random_ranking(seed)
    got = average_precision(scores, positive, np.concatenate([ONCE, weights]))
    repeated = [(scores, positive), *((scores.repeat(w), positive.repeat(w)) for w in weights)]
    assert got.tolist() == pytest.approx([area_of_torchmetrics(*one) for one in repeated], abs=1e-6)


def test_area_equals_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    scores, positive, weights = random_ranking(0)
    expected = [metrics.average_precision_score(positive, scores, sample_weight=weight) for weight in weights]
    assert average_precision(scores, positive, weights).tolist() == pytest.approx(expected, abs=1e-12)


def test_without_positive_items_there_is_no_area():
    nothing = average_precision(np.zeros(0), np.zeros(0, dtype=bool), np.zeros((2, 0)))
    assert np.isnan(nothing).all()
    weights = np.array([[1, 1], [2, 0]])
    got = average_precision(np.array([0.2, 0.7]), np.array([False, True]), weights)
    assert got[0] == 1
    assert np.isnan(got[1])


def test_mean_is_over_the_classes_of_each_data_set():
    each = np.array([[0.2, np.nan, np.nan], [0.6, 0.5, np.nan]])
    assert mean_over_classes(each)[:2].tolist() == pytest.approx([0.4, 0.5])
    assert np.isnan(mean_over_classes(each)[2])
    assert np.isnan(mean_over_classes(np.zeros((0, 2)))).all()
