import numpy as np
import pytest
import torch
from scipy import stats

from dds.metrics import JaccardIndex, Mean, Resampling
from dds.metrics.intervals import interval

INDEX = torch.arange(400)


def test_each_image_is_drawn_a_poisson_number_of_times():
    weights = Resampling(seed=3).weights(INDEX)
    assert weights.shape == (400, 1001)
    assert (weights[:, 0] == 1).all()
    drawn = weights[:, 1:].flatten().long()
    seen = torch.bincount(drawn, minlength=8)[:7].numpy()
    expected = stats.poisson.pmf(range(7), 1) * drawn.numel()
    assert stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > 0.01


def test_weights_hang_on_the_seed_and_the_image_alone():
    whole, part = Resampling(1).weights(INDEX), Resampling(1).weights(torch.tensor([7, 3]))
    assert torch.equal(part, whole[[7, 3]])
    assert not torch.equal(Resampling(2).weights(INDEX), whole)


def test_images_and_replicates_are_drawn_independently():
    drawn = Resampling().weights(INDEX[:50])[:, 1:].numpy()
    of_images = np.corrcoef(drawn)[np.triu_indices(50, 1)]
    of_replicates = np.corrcoef(drawn.T[:50])[np.triu_indices(50, 1)]
    assert abs(of_images.mean()) < 0.005
    assert abs(of_replicates.mean()) < 0.02
    assert abs(of_images).max() < 0.2


@pytest.mark.parametrize("seed", range(3))
def test_intervals_agree_with_those_of_resampling_n_of_n_images(seed):
    value = torch.rand(400, generator=torch.Generator().manual_seed(seed))
    metric = Mean("value", resampling=Resampling(seed, 4000))
    metric.update(INDEX, value=value)
    got = interval(metric.compute())
    reference = stats.bootstrap((value.numpy(),), np.mean, n_resamples=4000, method="percentile", rng=seed)
    low, high = map(float, reference.confidence_interval)
    assert got["low"] == pytest.approx(low, abs=0.06 * (high - low))
    assert got["high"] == pytest.approx(high, abs=0.06 * (high - low))


def test_sums_of_parts_in_any_order_are_those_of_the_whole():
    counts = torch.randint(0, 50, (3, 400, 5), generator=torch.Generator().manual_seed(0))
    hit, predicted, labelled = counts.cumsum(0)

    def measured(*parts):
        metric = JaccardIndex(resampling=Resampling(0, 20))
        for part in parts:
            metric.update(INDEX[part], hit[part], predicted[part], labelled[part])
        return metric

    whole, one, other = measured(INDEX), measured(INDEX[:90]), measured(INDEX[250:], INDEX[90:250])
    one.merge_state(other)
    assert torch.allclose(one.compute(), whole.compute(), rtol=1e-12)
    assert len(one.compute().unique()) == 21


def test_of_nothing_there_is_no_mean():
    metric = Mean("value", over="known")
    metric.update(torch.arange(2), value=torch.tensor([torch.nan, 3.0]), known=torch.tensor([0.0, 0.0]))
    assert metric.compute().isnan().all()
