"""Lightning's loggers, each read back by its own means."""

import csv

import pytest
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger
from loggers.test_wandb_log import KEYS, SUMMARY, write_run

from dds.loggers.courier import Courier
from dds.loggers.dashboard import SECONDS
from dds.loggers.loggers import dashboards

CURVES = {0: (0.9, 0.1), 50: (0.8, 0.5), 145: (0.6, 0.4)}
"""Accuracy on clean images and under the attack that sees nothing, at each t."""


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path)


RUNNING = {SECONDS: 40.5, "progress/share": 0.5, "running/clean/-/t0/accuracy": 0.75}


def log(loggers, folder):
    """Tell of a run that is half done, and of its results."""
    couriers = [Courier(one, folder, SUMMARY, KEYS) for one in dashboards(loggers, "dds")]
    for courier in couriers:
        courier.end(True, SUMMARY, RUNNING)
    return [courier.wait(60) for courier in couriers]


def test_csv(folder, tmp_path):
    (line,) = log(CSVLogger(tmp_path / "logs", name="study"), folder)
    assert line.startswith("CSVLogger: ")
    (path,) = (tmp_path / "logs").rglob("metrics.csv")
    rows = {step: {} for step in (*CURVES, 40)}
    for row in csv.DictReader(path.open()):
        rows[int(row["step"])] |= {name: value for name, value in row.items() if value}
    for t, (clean, attacked) in CURVES.items():
        assert float(rows[t]["clean/-/accuracy"]) == clean
        assert float(rows[t]["pgd eps_8/none/accuracy"]) == attacked
    assert float(rows[0]["worst_utility"]) == 0.3
    assert {name: float(rows[40][name]) for name in RUNNING} == RUNNING
    assert "protocol.attacks.pgd eps_8.init_args.eps: 8/255" in (path.parent / "hparams.yaml").read_text()


def test_tensorboard(folder, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log(TensorBoardLogger(tmp_path / "logs", name="study"), folder)
    (path,) = (tmp_path / "logs").rglob("version_0")
    events = reader.EventAccumulator(str(path))
    events.Reload()
    points = {event.step: event.value for event in events.Scalars("clean/-/accuracy")}
    assert points == pytest.approx({t: clean for t, (clean, _) in CURVES.items()})
    (running,) = events.Scalars("running/clean/-/t0/accuracy")
    assert (running.step, running.value) == (40, 0.75)
    assert b"protocol.seed: 3" in events.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]
    assert set(events.Tags()["images"]) == {"figures/utility", "figures/trade_off"}


def test_mlflow(folder, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    place = f"file:{tmp_path / 'mlruns'}"
    logger = MLFlowLogger("study", tracking_uri=place)
    log(logger, folder)
    client = mlflow.MlflowClient(place)
    points = {one.step: one.value for one in client.get_metric_history(logger.run_id, "clean/-/accuracy")}
    assert points == {t: clean for t, (clean, _) in CURVES.items()}
    (running,) = client.get_metric_history(logger.run_id, "running/clean/-/t0/accuracy")
    assert (running.step, running.value) == (40, 0.75)
    assert "report.html" in {file.path for file in client.list_artifacts(logger.run_id)}


class Broken(CSVLogger):
    def log_metrics(self, metrics, step=None):
        raise ConnectionError("no answer\nat all")


def test_a_logger_that_fails_costs_a_warning_and_no_other_logger(folder, tmp_path):
    loggers = [Broken(tmp_path / "broken"), CSVLogger(tmp_path / "logs")]
    first, second = log(loggers, folder)
    assert first == f"Warning: Broken failed (ConnectionError: no answer); the results are in {folder.path}"
    assert second.startswith("CSVLogger: ")


def test_nothing_is_logged_where_nothing_is_wanted():
    assert dashboards(False, "dds") == []
