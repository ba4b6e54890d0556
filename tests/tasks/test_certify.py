"""What tasks certify of their draws, against the same by hand."""

import numpy as np
import pytest
import torch
from conftest import TinySegmenter
from scipy.stats import binom, norm
from torch import nn

import dds
from dds.certificates import Asked, least_iou

DRAWS, CHOOSING = 60, 5
ASKED = Asked((0.25, 0.6), 0.01, CHOOSING, 0)


def segmentation(seed=0):
    """Pixels that agree in most draws, in some, and in one image nowhere."""
    rng, torch_rng = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    mask = torch.randint(0, 3, (3, 6, 6), generator=torch_rng)
    mask[0, 0], mask[2] = 255, 255
    usual = torch.where(torch.rand(mask.shape, generator=torch_rng) < 0.8, mask % 255, (mask + 1) % 3)
    agrees = rng.random((DRAWS + CHOOSING, 3, 6, 6)) < rng.choice([0.6, 0.9, 1], (3, 6, 6))
    decisions = torch.where(torch.from_numpy(agrees), usual, 3).short()
    task = dds.tasks.SemanticSegmentation(TinySegmenter(4))
    task.classes = 4
    return task, decisions, mask


def test_pixels_that_others_confirm_are_kept_and_the_rest_abstains():
    task, decisions, mask = segmentation()
    found = task.certify(decisions, {"mask": mask}, ASKED)
    chosen = decisions[:CHOOSING].mode(0).values.numpy()
    counts = (decisions[CHOOSING:].numpy() == chosen).sum(0)
    for place in range(2):
        for number, ratio in enumerate(ASKED.ratios):
            true = mask[place].numpy()
            labelled = true != 255
            chance = np.sort(binom.sf(counts[place][labelled] - 1, DRAWS, norm.cdf(ratio)))
            enough = np.logical_and.accumulate(chance <= 0.01 / np.arange(len(chance), 0, -1))
            limit = chance[enough].max(initial=-1)
            kept = labelled & (binom.sf(counts[place] - 1, DRAWS, norm.cdf(ratio)) <= limit)
            right = kept & (chosen[place] == true)
            assert found["pixel_accuracy_certified"][place, number] == pytest.approx(
                right.sum() / labelled.sum()
            )
            assert found["abstained"][place, number] == pytest.approx(1 - kept.sum() / labelled.sum())
            numbers = found["iou_counts"].reshape(3, 2, -1)[place, number].numpy()
            classes = [np.bincount(true[right], minlength=4), np.bincount(chosen[place][kept], minlength=4)]
            classes.append(np.bincount(true[labelled], minlength=4))
            assert numbers.tolist() == [*np.concatenate(classes), (labelled & ~kept).sum()]
            least = least_iou(*classes, free=int((labelled & ~kept).sum()))
            assert found["iou_certified"][place, number] == pytest.approx(least)
    assert 0 < found["abstained"][0, 0] < found["abstained"][0, 1] < 1
    assert found["iou_certified"][2].isnan().all()
    assert task.answers({"mask": mask}) == 36


def test_draws_that_choose_confirm_nothing():
    """Of five that choose and sixty that disagree with them, nothing is left."""
    task, decisions, mask = segmentation()
    decisions[:CHOOSING], decisions[CHOOSING:] = 1, 2
    found = task.certify(decisions, {"mask": mask}, ASKED)
    assert (found["abstained"][:2] == 1).all()


def test_the_median_depth_stays_between_its_bounds_whatever_the_shift():
    """Depth that is a pixel's brightness: a move by r changes it by that at most, in all pixels together."""
    torch.manual_seed(0)
    task = dds.tasks.DepthEstimation(nn.Conv2d(3, 1, 1))
    true = torch.full((2, 4, 4), 3.0)
    true[0, 0], true[1] = 0, 0
    sigma = 0.3
    drawn = true.clamp(min=2) + 0.1 + sigma * torch.randn(400, 2, 4, 4)
    found = task.certify(drawn, {"depth": true}, ASKED)
    for number, ratio in enumerate(ASKED.ratios):
        moved = 0.1 + ratio * sigma  # of one pixel alone: an L2 radius
        assert moved < found["rmse_certified"][0, number] < moved + 0.25
        assert found["absrel_certified"][0, number].item() == pytest.approx(moved / 3, rel=0.5)
        assert found["delta1_certified"][0, number] == 1
        assert found["rmse_certified"][1, number].isnan()
    drawn[::2, 0] = torch.nan
    lost = task.certify(drawn, {"depth": true}, ASKED)
    assert lost["rmse_certified"][0, 1].item() == pytest.approx(7)  # anything up to max_depth
    assert task.answers({"depth": true}) == 24


def between(drawn, ratio, alpha):
    """The order statistics that enclose a median (Chiang et al. 2020), of many at once: alpha is shared."""
    n, count = len(drawn), 2 * drawn[0].size
    ranks, ranked = np.arange(1, n + 1), np.sort(drawn, axis=0)
    low = ranks[1 - binom.cdf(ranks - 1, n, norm.cdf(-ratio)) > 1 - alpha / count]
    high = ranks[binom.cdf(ranks - 1, n, norm.cdf(ratio)) > 1 - alpha / count]
    infinite = np.full(drawn.shape[1:], np.inf)
    return ranked[low[-1] - 1] if len(low) else -infinite, ranked[high[0] - 1] if len(high) else infinite


def test_depth_follows_from_the_draws():
    rng = np.random.default_rng(0)
    task = dds.tasks.DepthEstimation(nn.Conv2d(3, 1, 1))
    true = torch.from_numpy(rng.uniform(1, 6, (1, 3, 4)))
    drawn = true + torch.from_numpy(rng.normal(0, 0.3, (DRAWS, 1, 3, 4)))
    found = task.certify(drawn, {"depth": true}, ASKED)
    for number, ratio in enumerate(ASKED.ratios):
        low, high = between(drawn[:, 0].numpy(), ratio, 0.01)
        low, high = np.clip(low, 0.001, 10), np.clip(high, 0.001, 10)
        depth = true[0].numpy()
        error = np.maximum(abs(low - depth), abs(high - depth))
        assert found["rmse_certified"][0, number] == pytest.approx(np.sqrt((error**2).mean()))
        assert found["absrel_certified"][0, number] == pytest.approx((error / depth).mean())
        sure = (depth / low < 1.25) & (high / depth < 1.25)
        assert found["delta1_certified"][0, number] == pytest.approx(sure.mean())
    assert 0 < found["delta1_certified"][0, 0] < 1


def test_boxes_follow_from_the_draws():
    rng = np.random.default_rng(0)
    task = dds.tasks.ObjectDetection(nn.Identity())
    truth = np.array([10.0, 10, 30, 30])
    drawn = truth + rng.normal(0, 0.5, (DRAWS, 4))
    batch = {"boxes": torch.tensor(truth)[None, None].float(), "classes": torch.tensor([[1]])}
    found = task.certify(detections(torch.from_numpy(drawn).float()), batch, ASKED)["box_iou_certified"][0]
    for number, ratio in enumerate(ASKED.ratios):
        low, high = between(drawn, ratio, 0.01)
        if not np.isfinite([low, high]).all():
            assert found[number] == 0
            continue
        inner = np.prod(np.minimum(low[2:], truth[2:]) - np.maximum(high[:2], truth[:2]))
        union = np.prod(high[2:] - low[:2]) + 400 - inner
        assert found[number].item() == pytest.approx(inner / union, rel=1e-5)
    assert found[0] > 0.5


def detections(boxes, score=0.9, label=1):
    found = torch.zeros(len(boxes), 1, 100, 6)
    found[:, 0, 0, :4] = boxes
    found[:, 0, 0, 4], found[:, 0, 0, 5] = score, label
    return found


def test_boxes_and_finds_of_objects():
    task = dds.tasks.ObjectDetection(nn.Identity())
    truth = torch.tensor([10.0, 10, 30, 30])
    batch = {"boxes": torch.stack([truth, truth + 40, torch.zeros(4)])[None]}
    batch["classes"] = torch.tensor([[1, 2, -1]])
    torch.manual_seed(0)
    drawn = detections(truth + 0.5 * torch.randn(300, 4))
    found = task.certify(drawn, batch, ASKED)["box_iou_certified"][0]
    assert 0.5 * 0.7 < found[1] < found[0] < 0.5  # of two objects, one is never seen
    answers = task.yes_or_no(drawn[0], batch)["found"][0]
    assert answers[:2].tolist() == [1, 0]
    assert answers[2].isnan()
    assert not task.yes_or_no(detections(truth[None], score=0.4)[0], batch)["found"][0, 0]
    assert not task.yes_or_no(detections(truth[None], label=2)[0], batch)["found"][0, 0]
    drawn[::2, ..., 4] = 0.1
    assert task.certify(drawn, batch, ASKED)["box_iou_certified"].max() == 0
    batch["classes"] = torch.tensor([[-1, -1, -1]])
    assert task.certify(drawn, batch, ASKED)["box_iou_certified"].isnan().all()
