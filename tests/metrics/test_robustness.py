import pytest
import torch
from torchmetrics import MetricCollection

from dds.metrics import (
    AttackSuccess,
    ConditionMetrics,
    Mean,
    MeanOverDraws,
    Resampling,
    UtilityDrop,
    WorstDraw,
)
from dds.tasks.running import Running

INDEX = torch.arange(5)
ERROR = torch.tensor([[1.0, 5, 2, 4, 3], [2, 1, 2, 6, 0]])  # of two draws of five images


def metrics(**options):
    return MetricCollection({"error": Mean("error", **options)})


def test_draws_are_averaged_and_the_worst_of_each_image_is_chosen():
    mean, worst = MeanOverDraws(metrics()), WorstDraw(metrics(), "error", lower_is_better=True)
    best = WorstDraw(metrics(), "error")
    for metric in (mean, worst, best):
        metric.update(INDEX[:2], error=ERROR[:, :2])
        metric.update(INDEX[2:], error=ERROR[:, 2:])
    assert mean.compute()["error"].item() == pytest.approx(ERROR.mean().item())
    assert worst.compute()["error_worst"].item() == pytest.approx((2 + 5 + 2 + 6 + 3) / 5)
    assert best.compute()["error_worst"].item() == pytest.approx((1 + 1 + 2 + 4 + 0) / 5)


def test_a_metric_that_is_reset_has_forgotten_all_images():
    for metric in (MeanOverDraws(metrics()), WorstDraw(metrics(), "error")):
        metric.update(INDEX, error=ERROR * 100)
        metric.reset()
        metric.update(INDEX, error=torch.ones(2, 5))
        assert [value.item() for value in metric.compute().values()] == [1]


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_the_drop_is_paired_on_each_resampled_data_set(lower_is_better):
    """Where every image loses a quarter, so does every data set, however it is drawn."""
    clean, attacked = (MeanOverDraws(metrics(resampling=Resampling(0, 50))) for _ in range(2))
    clean.update(INDEX, error=ERROR)
    attacked.update(INDEX, error=0.75 * ERROR)
    drop = UtilityDrop(attacked, clean, "error", lower_is_better).compute()
    assert drop.shape == (51,)
    known = drop[drop.isfinite()]
    assert torch.allclose(known, torch.full_like(known, -0.25 if lower_is_better else 0.25))
    assert len(clean.compute()["error"].unique()) > 10


def test_success_is_over_all_images_and_over_those_that_were_right():
    success = AttackSuccess(resampling=Resampling(0, 50))
    before = torch.tensor([[1.0, 1, 0, 0, 1]])
    right = torch.tensor([[1.0, 0, 0, 1, 0], [0, 0, 0, 1, 0]])
    success.update(INDEX, right=right, right_before=before.expand(2, 5))
    values = success.compute()
    assert values["attack_success"][0].item() == pytest.approx(7 / 10)
    assert values["attack_success_on_correct"][0].item() == pytest.approx(5 / 6)


def test_where_nothing_was_right_before_there_is_nothing_to_break():
    success = AttackSuccess()
    success.update(INDEX, right=torch.zeros(1, 5), right_before=torch.zeros(1, 5))
    assert success.compute()["attack_success"].item() == 1
    assert success.compute()["attack_success_on_correct"].isnan().all()


def test_a_process_computes_alone_what_it_alone_has_measured(monkeypatch):
    """As the first process does for a summary, when the others have gone or measure on."""
    monkeypatch.setattr("torchmetrics.metric.jit_distributed_available", lambda: True)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    own = ConditionMetrics(metrics(), Resampling(replicates=0), "error", right="right")
    draws = {"error": ERROR, "loss": ERROR, "right": ERROR}
    own.update(INDEX, draws, {"error": ERROR[0]}, torch.ones(2, 5))
    assert {"error", "error_worst", "error_vote", "loss", "attack_success"} <= own.compute().keys()
    running = Running(metrics(), "error")
    running.update(INDEX, draws)
    assert running.compute().keys() == {"error", "loss"}
    others = metrics()
    others.update(index=INDEX, error=ERROR[0])
    with pytest.raises(Exception, match=r"(?i)process group"):
        others.compute()
