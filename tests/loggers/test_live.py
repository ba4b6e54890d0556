"""Dashboards that live while a run does, by real runs; and dashboards that fail, block or sleep."""

import shutil
import signal
import threading
import time
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import wandb
from conftest import TinyClassifier, TinyNoiseNetwork
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from loggers.test_wandb_log import fresh, read_wandb  # noqa: F401

import dds
from dds.loggers import courier, live
from dds.loggers.kept_id import KeptId
from dds.runs import RunFolder
from dds.runs.stopping import Stopped

IMAGES = 6
UTILITY = "accuracy"


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Evaluate six images in batches of two, with a row after each and a page that costs no time."""
    monkeypatch.setattr("dds.evaluation.write_report", lambda folder, summary: folder.report.write_text("…"))
    monkeypatch.setattr(live, "_PAUSE", 0.0)
    monkeypatch.setattr(live, "_TIMES", 0.0)

    def run(logger, task=None, folder="run", **options):
        torch.manual_seed(1)
        purifier = dds.purifiers.DiffusionDenoiser(TinyNoiseNetwork())
        attacks = {"pgd": dds.attacks.PGD(steps=2)}
        protocol = dds.AttackAndPurify(purifier, [50], attacks=attacks, draws=2)
        pairs = [(image, place % 4) for place, image in enumerate(torch.rand(IMAGES, 3, 8, 8))]
        data = torch.utils.data.DataLoader(pairs, batch_size=2)
        given = {"accelerator": "cpu", "quiet": True, "logger": logger, **options}
        return dds.evaluate(task or Watched(), data, protocol, tmp_path / folder, **given)

    return run


@pytest.fixture
def every_row(monkeypatch):
    """Let the work wait for each row, so that none is skipped."""
    bring = courier.Courier.bring

    def bring_and_wait(self, numbers):
        bring(self, numbers)
        while not self._waiting.empty() and self._thread.is_alive():
            time.sleep(0.01)

    monkeypatch.setattr(courier.Courier, "bring", bring_and_wait)


class Watched(dds.tasks.Classification):
    """Has a running value of its own, where the task has none; may be stopped by a signal."""

    stop_at = None

    def __init__(self):
        super().__init__(TinyClassifier())
        self.batches = 0

    def test_step(self, batch, batch_idx):
        self.batches += 1
        if self.batches == self.stop_at:
            raise Stopped(signal.SIGTERM)
        return super().test_step(batch, batch_idx)

    def running(self):
        value = {"value": self.batches / 10, "low": 0.0, "high": 1.0}
        return super().running() or {key: {UTILITY: value, "loss": value} for key in KEYS}


def stopped(batch):
    task = Watched()
    task.stop_at = batch
    return task


KEYS = ["clean/-/t0", "clean/-/t50", "pgd/none/t0", "pgd/none/t50", "pgd/same/t50"]


def rows_of(read):
    return [row for row in read.history if "progress/share" in row]


def assert_is_summary(row, summary):
    for entry in summary["conditions"]:
        utility = entry["metrics"][UTILITY]
        name = f"running/{entry['key']}/{UTILITY}"
        assert [row[name], row[f"{name}_low"], row[f"{name}_high"]] == [*utility.values()]


def test_the_run_on_wandb_lives_while_the_work_does(evaluate, every_row, fresh, tmp_path):  # noqa: F811
    results = evaluate(True)
    read = read_wandb(tmp_path / "run")
    assert read.config["planned"]["conditions"] == KEYS
    assert read.config["planned"]["calls"] == results.summary["calls"]
    assert read.order.index("run") < read.order.index("history")
    *rows, last = rows_of(read)
    assert [row["progress/share"] for row in rows] == pytest.approx([1 / 3, 2 / 3, 1])
    seconds = [row["progress/seconds"] for row in (*rows, last)]
    assert seconds == sorted(seconds)
    assert rows[-1]["progress/seconds_left"] == 0 < rows[0]["progress/seconds_left"]
    assert all(row["progress/images_per_second"] > 0 for row in rows)
    calls = results.summary["calls"]
    planned = sum(part["forward"] for part in calls.values())
    assert planned * 2 <= rows[0]["progress/calls"] < rows[1]["progress/calls"]
    assert {f"running/{key}/{UTILITY}" for key in KEYS} < rows[0].keys()
    assert last["progress/share"] == 1
    assert_is_summary(last, results.summary)
    losses = [e["metrics"]["loss"]["value"] for e in results.summary["conditions"] if e["attack"] == "pgd"]
    assert last["progress/attack_loss"] == pytest.approx(sum(losses) / len(losses))
    assert read.steps == {"noise_level", "progress/seconds"}
    curves = [row for row in read.history if "noise_level" in row]
    assert [row["noise_level"] for row in curves] == [0, 50]
    assert read.summary["clean_utility"] == curves[-1]["clean_utility"]


def test_what_is_resumed_goes_on_with_the_same_run(evaluate, every_row, fresh, tmp_path, capsys):  # noqa: F811
    with pytest.raises(SystemExit):
        evaluate(True, stopped(3))
    first = read_wandb(tmp_path / "run")
    assert [row["progress/share"] for row in rows_of(first)] == pytest.approx([1 / 3, 2 / 3])
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    folder = folder.rename(tmp_path / folder.name)
    results = evaluate(True, resume=True)
    second = read_wandb(tmp_path / "run")
    assert second.run.run_id == first.run.run_id
    rows = rows_of(second)
    assert [row["progress/share"] for row in rows] == pytest.approx([1, 1])
    assert rows[0]["progress/seconds"] > rows_of(first)[-1]["progress/seconds"]
    assert_is_summary(rows[-1], results.summary)


def test_a_run_that_the_user_configured_lives_as_well(evaluate, every_row, fresh, tmp_path):  # noqa: F811
    with pytest.raises(SystemExit):
        evaluate(WandbLogger(project="mine", save_dir=tmp_path), stopped(3))
    first = read_wandb(tmp_path)
    shutil.rmtree(tmp_path / "wandb")
    results = evaluate(WandbLogger(project="mine", save_dir=tmp_path), resume=True)
    second = read_wandb(tmp_path)
    assert first.run.project == "mine"
    assert second.run.run_id == first.run.run_id
    assert_is_summary(rows_of(second)[-1], results.summary)
    running = [name for name in rows_of(second)[-1] if name.startswith("running/")]
    assert {second.step_of[name] for name in running} == {"progress/seconds"}


def test_all_parts_of_an_offline_run_are_named(evaluate, every_row, fresh, tmp_path, capsys):  # noqa: F811
    with pytest.raises(SystemExit):
        evaluate(True, stopped(2))
    evaluate(True, resume=True, quiet=False)
    assert (
        f"send all parts of it with: wandb sync {tmp_path}/run/wandb/offline-run-*-"
        in capsys.readouterr().out.replace("\n", "")
    )


def test_a_damaged_id_is_a_new_run_and_is_said(evaluate, every_row, fresh, tmp_path, capsys):  # noqa: F811
    with pytest.raises(SystemExit):
        evaluate(True, stopped(2))
    kept = tmp_path / "run" / "wandb" / "run.json"
    before = kept.read_text()
    kept.write_bytes(b"\xff" + before.encode()[:9])
    evaluate(True, resume=True, quiet=False)
    assert "what was there before cannot be gone on with" in capsys.readouterr().out.replace("\n", " ")
    assert kept.read_text() not in ("", before)


def test_one_process_at_a_time_holds_the_id(tmp_path):
    one, other = (KeptId(RunFolder(tmp_path)) for _ in range(2))
    assert one.hold()
    one.keep("abc")
    assert not other.hold()
    one.release()
    assert other.hold()
    assert other.id == "abc"


def test_a_job_that_may_not_write_leaves_the_run_to_the_other(evaluate, fresh, tmp_path, monkeypatch):  # noqa: F811
    """Of a run of which another job is at work; the results go to a run of their own, if that never ends."""
    monkeypatch.setattr("dds.loggers.wandb_run._PATIENCE", 0.0)
    other = KeptId(RunFolder(tmp_path / "run"))
    monkeypatch.setattr(KeptId, "hold", lambda kept, patience=0.0: False)
    evaluate(True)
    read = read_wandb(tmp_path / "run")
    (last,) = rows_of(read)
    assert last["progress/share"] == 1
    assert not other._path.exists()


def test_other_loggers_live_too(evaluate, every_row, tmp_path):
    results = evaluate(CSVLogger(tmp_path / "logs"))
    (path,) = (tmp_path / "logs").rglob("metrics.csv")
    shares = pd.read_csv(path).dropna(subset="progress/share")
    assert shares["progress/share"].tolist() == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert_is_summary(shares.iloc[-1], results.summary)


class Awkward(CSVLogger):
    """Fails or blocks where it is told to."""

    def __init__(self, folder, where, what):
        super().__init__(folder)
        self.where, self.what, self.calls = where, what, 0

    def __getattribute__(self, name):
        if name in ("log_hyperparams", "log_metrics", "finalize") and name == self.where:
            self.calls += 1
            self.what()
        return super().__getattribute__(name)


def fail():
    raise ConnectionError("no answer\nat all")


WHERE = ["log_hyperparams", "log_metrics", "finalize"]


@pytest.mark.parametrize("where", WHERE)
def test_a_logger_that_fails_costs_a_warning(evaluate, every_row, tmp_path, capsys, where):
    logger = Awkward(tmp_path / "logs", where, fail)
    results = evaluate([logger, CSVLogger(tmp_path / "fine")], quiet=False)
    said = capsys.readouterr().out.replace("\n", "")
    assert f"Warning: Awkward failed (ConnectionError: no answer); the results are in {tmp_path}/run" in said
    assert results.summary["images"] == IMAGES
    assert logger.calls == (2 if where == "finalize" else 1)
    (path,) = (tmp_path / "fine").rglob("metrics.csv")
    assert f"running/{KEYS[0]}/{UTILITY}" in path.read_text()


@pytest.mark.parametrize("where", WHERE)
def test_a_logger_that_blocks_delays_nothing(evaluate, tmp_path, capsys, monkeypatch, where):
    monkeypatch.setattr(live, "_PATIENCE", 0.2)
    released = threading.Event()
    started = time.monotonic()
    results = evaluate(Awkward(tmp_path / "logs", where, lambda: released.wait(60)), quiet=False)
    assert time.monotonic() - started < 30
    released.set()
    assert results.summary["images"] == IMAGES
    assert "Warning: Awkward does not answer, and is left behind" in capsys.readouterr().out


def test_a_logger_that_blocks_does_not_hold_up_a_signal(evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "_HASTE", 0.2)
    released = threading.Event()
    with pytest.raises(SystemExit) as stop:
        evaluate(Awkward(tmp_path / "logs", "log_metrics", lambda: released.wait(60)), stopped(2))
    released.set()
    assert stop.value.code == 143


def test_of_rows_that_wait_the_newest_is_shown():
    begun, shown = threading.Event(), []
    slow = SimpleNamespace(name="slow", begin=lambda *plan: begun.wait(10), log=shown.append)
    slow.end = lambda *results: "there"
    messenger = courier.Courier(slow, None, {}, [])
    for number in range(5):
        messenger.bring(number)
    begun.set()
    while not shown:
        time.sleep(0.01)
    messenger.end(True)
    assert messenger.wait(10) == "slow: there"
    assert shown == [4]


def test_rows_that_are_slow_to_compute_come_seldom(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: clock[0], time=lambda: clock[0]))
    shown = []

    def running():
        clock[0] += 2.0
        return {}

    told = live.Live(False, "dds", *[SimpleNamespace()] * 3)
    told._couriers = [SimpleNamespace(bring=lambda row: shown.append(clock[0]))]
    told._row, told._pace = lambda metrics: {}, lambda share: {}
    trainer = SimpleNamespace(test_dataloaders=SimpleNamespace(expected=40))
    for batch in range(40):
        clock[0] += 10.0
        task = SimpleNamespace(running=running)
        told.on_test_batch_end(trainer, task, None, None, batch)
    assert shown == [12.0, 134.0, 256.0, 378.0]


@pytest.mark.parametrize("logger", [True, "csv"])
def test_a_start_that_fails_begins_nothing(evaluate, tmp_path, logger):
    task = Watched()
    task.check_output = lambda output: 1 / 0  # in the rehearsal
    with pytest.raises(ZeroDivisionError):
        evaluate(logger is True or CSVLogger(tmp_path / "logs"), task)
    assert not list(tmp_path.iterdir())


def test_a_run_of_which_nothing_was_measured_leaves_nothing(evaluate, fresh, tmp_path):  # noqa: F811
    fresh.setattr(live, "_HASTE", 60.0)
    with pytest.raises(SystemExit):
        evaluate(True, stopped(1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"logger": "wandb"}, {"logger": True, "project": "a/b"}])
def test_what_no_dashboard_takes_is_refused_before_the_work(evaluate, tmp_path, options):
    with pytest.raises(dds.InputError, match=r"logger is 'wandb'|project is 'a/b', which W&B refuses"):
        evaluate(**options)
    assert not list(tmp_path.iterdir())


def test_a_run_begins_though_the_process_of_wandb_was_ended_since_the_last(evaluate, fresh, tmp_path):  # noqa: F811
    begin, tried = wandb.init, []

    def init(**options):
        tried.append(options)
        if len(tried) == 1:
            raise ConnectionResetError("Connection lost")
        return begin(**options)

    fresh.setattr(wandb, "init", init)
    evaluate(True)
    assert len(tried) == 2
    assert rows_of(read_wandb(tmp_path / "run"))[-1]["progress/share"] == 1
