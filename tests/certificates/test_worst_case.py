from itertools import product

import numpy as np
import pytest

from dds.certificates import least_accuracy, least_box_iou, least_iou, worst_depth


def mean_iou(decision, mask, classes):
    ious = [
        ((decision == c) & (mask == c)).sum() / ((decision == c) | (mask == c)).sum()
        for c in range(classes)
        if ((decision == c) | (mask == c)).any()
    ]
    return np.mean(ious)


@pytest.mark.parametrize("seed", range(6))
def test_no_answer_of_the_pixels_that_abstain_gives_a_lower_iou(seed):
    rng, classes = np.random.default_rng(seed), 4
    mask, kept = rng.integers(0, 3, 12), np.arange(12) >= 4
    decision = np.where(rng.random(12) < 0.8, mask, rng.integers(0, 3, 12))
    counted = kept & (decision == mask)
    counts = [np.bincount(values, minlength=classes) for values in (mask[counted], decision[kept], mask)]
    least = least_iou(*counts, free=4)
    every = [
        mean_iou(np.r_[np.array(free), decision[4:]], mask, classes)
        for free in product(range(classes), repeat=4)
    ]
    assert 0.6 * min(every) < least <= min(every) + 1e-9


def test_iou_where_all_or_nothing_is_certain():
    assert least_iou([3, 1, 0], [3, 1, 0], [3, 2, 0], free=0) == pytest.approx((1 + 0.5) / 2)
    assert least_iou([0, 0], [0, 0], [3, 2], free=5) == 0


def test_pixels_that_abstain_are_wrong_and_ignored_ones_count_in_nothing():
    decision, mask = np.array([[1, 1, 2, 0]]), np.array([[1, 1, 2, 255]])
    assert least_accuracy(decision, [[True, False, True, True]], mask, ignored=255) == pytest.approx(2 / 3)


def test_no_depth_between_the_bounds_is_worse():
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 5, 30)
    low, high = depth * rng.uniform(0.7, 1.1, 30), depth * rng.uniform(1.1, 1.4, 30)
    worst = worst_depth(low, high, depth)
    for share in rng.random((200, 30)).round():
        answer = low + share * (high - low)
        assert np.sqrt(((answer - depth) ** 2).mean()) <= worst["rmse"]
        assert (np.abs(answer - depth) / depth).mean() <= worst["absrel"]
        assert (np.maximum(answer / depth, depth / answer) < 1.25).mean() >= worst["delta1"]
    assert worst_depth([2.0], [3.0], [2.5])["rmse"] == pytest.approx(0.5)
    assert worst_depth([-np.inf], [np.inf], [2.0])["delta1"] == 0


def test_no_box_between_the_bounds_overlaps_less():
    rng, truth = np.random.default_rng(0), np.array([10.0, 10, 30, 40])
    low, high = truth - np.array([4, 1, 2, 3]), truth + np.array([1, 3, 2, 5])
    least = least_box_iou(low, high, truth)
    for box in rng.uniform(low, high, (300, 4)):
        start, end = np.maximum(box[:2], truth[:2]), np.minimum(box[2:], truth[2:])
        common = (end - start).prod()
        assert common / ((box[2:] - box[:2]).prod() + 600 - common) >= least
    assert least_box_iou(truth, truth, truth) == 1
    assert least_box_iou(truth - 30, truth + 30, truth) == 0
    assert least_box_iou(np.full(4, -np.inf), np.full(4, np.inf), truth) == 0
