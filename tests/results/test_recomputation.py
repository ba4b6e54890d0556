"""Every number of a summary follows from the tables of single images, fed to the same metrics."""

import shutil

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from conftest import TinyClassifier, TinySegmenter
from lightning.pytorch.loggers import CSVLogger
from test_honesty import Images, evaluate, protocol, rows_of
from torchmetrics import MetricCollection, SumMetric

import dds
from dds import errors
from dds.metrics import ConditionMetrics, Resampling, UtilityDrop
from dds.metrics.intervals import interval
from dds.runs.samples import write_parquet
from dds.tasks import Classification, DepthEstimation, ImageRetrieval, SemanticSegmentation

TASKS = {
    "classification": lambda: Classification(TinyClassifier()),
    "segmentation": lambda: SemanticSegmentation(TinySegmenter()),
    "depth": lambda: DepthEstimation(TinySegmenter(1)),
    "retrieval": lambda: ImageRetrieval(TinyClassifier()),
}


def tensors(frame):
    """Return each statistic of one image, `[K, ...]` of K rows."""
    statistics = frame.drop(columns=["index", "condition", "draw"], errors="ignore").dropna(axis=1, how="all")
    return {name: torch.tensor(np.stack(statistics[name].to_numpy())) for name in statistics}


def measure(task, samples, votes, key, clean):
    """Feed the metrics of a condition, the last image first."""
    resampling = Resampling(0)
    metrics = ConditionMetrics(
        task.metrics(resampling), resampling, task.score, task.lower_is_better, task.right
    )
    for index in sorted(samples["index"].unique(), reverse=True):
        rows, before, vote = (
            tensors(frame[frame["index"] == index])
            for frame in (rows_of(samples, key), rows_of(samples, clean), rows_of(votes, key))
        )
        metrics.update(
            torch.tensor([index]),
            {name: value[:, None] for name, value in rows.items()},
            vote or None,
            before[task.right][:, None] if task.right and key != clean else None,
        )
    return metrics


@pytest.mark.parametrize("kind", TASKS)
def test_every_number_is_that_of_the_rows_one_by_one(kind, tmp_path):
    task = TASKS[kind]()
    samples, votes, entries = evaluate(tmp_path / "run", protocol(), Images(count=6), task)
    first = measure(task, samples, votes, "clean/-/t0", "clean/-/t0")
    for key, entry in entries.items():
        metrics = measure(task, samples, votes, key, f"clean/-/{key.rsplit('/', 1)[1]}")
        drop = UtilityDrop(metrics.mean, first.mean, task.utility, task.lower_is_better)
        found = {name: interval(value) for name, value in metrics.compute().items()}
        found["utility_drop"] = interval(drop.compute())
        expected = {**entry["metrics"], "utility_drop": entry["utility_drop"]}
        assert found.keys() == expected.keys()
        for name, values in found.items():
            assert values == pytest.approx(expected[name], rel=1e-9, abs=1e-12, nan_ok=True), (key, name)


@pytest.mark.parametrize("made", [lambda resampling: {"accuracy": SumMetric()}, lambda resampling: None])
def test_what_is_no_metric_is_refused_before_any_work(made, monkeypatch, tmp_path):
    task = Classification(TinyClassifier())
    monkeypatch.setattr(task, "metrics", made)
    with pytest.raises(errors.InputError, match="expected a torchmetrics MetricCollection"):
        task.start_over()
    monkeypatch.setattr(task, "metrics", lambda resampling: MetricCollection({"accuracy": print}))
    with pytest.raises(errors.InputError, match="expected a torchmetrics MetricCollection"):
        task.start_over()


def test_the_running_values_of_the_last_image_are_those_of_the_summary(tmp_path):
    task = SemanticSegmentation(TinySegmenter())
    _, _, entries = evaluate(tmp_path / "run", protocol(), Images(count=6), task)
    running = task.running()
    assert running.keys() == entries.keys()
    for key, values in running.items():
        for name in ("mIoU", "loss"):
            assert values[name]["value"] == pytest.approx(entries[key]["metrics"][name]["value"], rel=1e-9)
        assert values["mIoU"]["low"] < values["mIoU"]["value"] < values["mIoU"]["high"]


def test_the_running_values_of_a_run_that_goes_on_begin_with_what_is_there(tmp_path):
    task, other = (SemanticSegmentation(TinySegmenter()) for _ in range(2))
    whole = dds.evaluate(task, Images(count=6), protocol(), tmp_path / "whole", quiet=True)
    parts = tmp_path / "begun" / "parts"
    parts.mkdir(parents=True)
    shutil.copy(tmp_path / "whole" / "config.yaml", tmp_path / "begun")
    rows = pq.read_table(whole.folder / "samples.parquet")
    votes = pq.read_table(whole.folder / "votes.parquet")
    for table, name in ((rows, "samples"), (votes, "votes")):
        write_parquet(table.filter(pc.less(table["index"], 3)), parts / f"{name}.parquet")
    dds.evaluate(
        other,
        Images(count=6),
        protocol(),
        tmp_path / "begun",
        resume=True,
        quiet=True,
        logger=CSVLogger(tmp_path),
    )
    assert other.running() == task.running()
