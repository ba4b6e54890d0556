"""What is put into a W&B run, read back from an offline run's files; and what W&B does not answer to."""

import json
import signal
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import wandb
import yaml
from PIL import Image
from wandb.proto import wandb_internal_pb2
from wandb.sdk import wandb_setup
from wandb.sdk.lib import import_hooks

import dds.loggers.wandb_log
from dds.loggers.courier import Courier
from dds.loggers.wandb_run import WandbDashboard, _end_service
from dds.runs import RunFolder
from dds.runs.examples import write_examples

ATTACK = "pgd eps=8"
PLACES = {"t0": (None, None), "t50": (50, 0.088), "t145": (145, 0.252), "jpeg": (None, None)}
UTILITY = {
    ("clean", "-"): {"t0": 0.9, "t50": 0.8, "t145": 0.6, "jpeg": 0.7},
    (ATTACK, "none"): {"t0": 0.1, "t50": 0.5, "t145": 0.4, "jpeg": 0.3},
    (ATTACK, "same"): {"t50": 0.2, "t145": 0.3, "jpeg": None},
}
CONFIG = {
    "task": {"class_path": "dds.tasks.Classification", "init_args": {"model": "zoo:scenes-classification"}},
    "data": {"class_path": "dds.data.Scenes", "init_args": {"limit": None}},
    "protocol": {
        "purifier": {"class_path": "dds.purifiers.DiffusionDenoiser"},
        "noise_levels": [50, 145],
        "attacks": {ATTACK: {"class_path": "dds.attacks.PGD", "init_args": {"eps": "8/255"}}},
        "seed": 3,
    },
}


def entry(attack, sees, defence, utility):
    t, sigma = PLACES[defence]
    ends = (None, None, None) if utility is None else (utility, utility - 0.05, utility + 0.05)
    metrics = {"accuracy": dict(zip(("value", "low", "high"), ends, strict=True))}
    return {
        "key": f"{attack}/{sees}/{defence}", "attack": attack, "attacker_sees": sees,
        "defence": None if defence == "t0" else defence, "t": t, "sigma": sigma,
        "draws": 1 if t is None else 2, "straight_through": False, "metrics": metrics,
        "utility_drop": None if utility is None else {"value": 1 - utility / 0.9, "low": 0.0, "high": 1.0},
    }  # fmt: skip


CERTIFIED = {
    ("t50", 0.25): (0.7, 0.75),
    ("t50", 1.0): (0.3, 0.5),
    ("t145", 0.25): (0.4, 0.45),
    ("t145", 1.0): (0.2, 0.3),
}
"""Of a level and a part of sigma: what is certified, and what an attack has left."""

SUMMARY = {
    "task": "Classification",
    "data": "Scenes",
    "images": 2,
    "utility": "accuracy",
    "lower_is_better": False,
    "versions": {"dds": "0.1.0"},
    "weights": {"task": "ab" * 32},
    "seconds": 12.5,
    "calls": {"task": {"forward": 7, "backward": 2}},
    "conditions": [
        entry(*line, defence, utility)
        for line, row in UTILITY.items()
        for defence, utility in row.items()
    ],
    "certificates": {
        "alpha": 0.001,
        "entries": [
            {
                "defence": defence, "t": PLACES[defence][0], "sigma": PLACES[defence][1], "kind": "score",
                "score": "correct", "radius": ratio * PLACES[defence][1], "mean": 0.8, "value": value,
                "attacked": attacked, "disagree": [],
            }
            for (defence, ratio), (value, attacked) in CERTIFIED.items()
        ] + [
            {
                "defence": "t50", "t": PLACES["t50"][0], "sigma": PLACES["t50"][1], "kind": "vote",
                "score": "correct", "radius": ratio * PLACES["t50"][1], "mean": 0.8, "value": ratio / 2,
            }
            for ratio in (0.25, 1.0)
        ],
    },
}  # fmt: skip
KEYS = [condition["key"] for condition in SUMMARY["conditions"]]


def write_run(path):
    """A finished run of two images, as small as they come."""
    folder = RunFolder(path / "study" / "a")
    folder.figures.mkdir(parents=True)
    folder.config.write_text(yaml.safe_dump(CONFIG))
    folder.report.write_text("<!doctype html><title>Report</title>")
    for name in ("utility", "trade_off"):
        Image.new("RGB", (6, 4), "red").save(folder.figures / f"{name}.png")
    original = np.random.default_rng(0).integers(20, 230, (2, 8, 8, 3), dtype=np.uint8)
    arrays = {"original": original, "index": np.array([5, 34])}
    for key in KEYS:
        arrays[f"attacked:{key}"] = original + np.uint8(0 if key.startswith("clean") else 8)
        arrays[f"shown:{key}"] = original
        arrays[f"decision:{key}"] = np.array(["class 1", "class 2 (wrong)"])
    write_examples(arrays, folder.examples)
    return folder


def log_to_wandb(folder):
    """Show a finished run, as a command does after which nothing is missing."""
    dashboard = WandbDashboard("dds")
    dashboard.begin(folder, SUMMARY, KEYS)
    return dashboard.end(True, SUMMARY)


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path)


@pytest.fixture
def fresh(monkeypatch):
    """W&B reads its environment once; here it reads that of the test."""
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    wandb.teardown()
    yield monkeypatch
    wandb.teardown()
    import_hooks.unregister_all_post_import_hooks()  # of runs that have been cut off so


def read_wandb(folder):
    """Read an offline run's file back: what was logged, its settings and its summary."""
    wandb.teardown()  # as at the end of a process: its service closes the file
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    read = SimpleNamespace(history=[], config={}, summary={}, step_of={}, order=[])
    read.files = path.parent / "files"
    for data in leveldb_records(path.read_bytes()[7:], skipped=7):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        read.order.append(kind)
        if kind == "history":
            read.history.append(_items(record.history.item))
        elif kind == "run":
            read.run = record.run
            read.config |= _items(record.run.config.update)
        elif kind == "config":
            read.config |= _items(record.config.update)
        elif kind == "summary":
            read.summary |= _items(record.summary.update)
        elif kind == "metric" and record.metric.step_metric:
            read.step_of[record.metric.name or record.metric.glob_name] = record.metric.step_metric
    read.steps = set(read.step_of.values())
    return read


def _items(items):
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def leveldb_records(data, skipped, block=32768):
    """Split LevelDB's log format, which W&B writes, into records."""
    place, record = 0, b""
    while place + 7 <= len(data):
        if (room := block - (place + skipped) % block) < 7:
            place += room
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def read_table(read, name):
    (path,) = read.files.glob(f"media/table/{name}_*.table.json")
    table = json.loads(path.read_text())
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def read_pictures(folder):
    """Read the table of pictures, which `wandb sync` sends from where it waits."""
    files = {path.read_bytes() for path in folder.glob("wandb/artifacts/staging/*")}
    tables = [json.loads(file) for file in files if b'"columns"' in file]
    (table,) = [table for table in tables if "original" in table["columns"]]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """The offline run of a finished run, read back."""
    folder = write_run(tmp_path_factory.mktemp("runs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_DATA_DIR", raising=False)
        log_to_wandb(folder)
    read = read_wandb(folder.path)
    read.pictures = read_pictures(folder.path)
    return read


def test_curves_over_t_with_sigma_in_the_same_rows(logged):
    assert logged.steps == {"noise_level"}
    assert [(row["noise_level"], row["sigma"]) for row in logged.history] == [
        (0, 0),
        (50, 0.088),
        (145, 0.252),
    ]
    for (attack, sees), row in UTILITY.items():
        curve = [step.get(f"{attack}/{sees}/accuracy") for step in logged.history]
        assert curve == [row.get(level) for level in ("t0", "t50", "t145")]
    assert logged.history[1]["clean/-/accuracy_low"] == pytest.approx(0.75)
    assert logged.summary["clean/-/jpeg/accuracy"] == 0.7
    assert not any(name.startswith(f"{ATTACK}/same/jpeg/") for name in logged.summary)  # it has no number


def test_what_sweeps_optimise(logged):
    """t=145 keeps .3 under the attacker who sees it, t=50 only .2; jpeg has no known worst case."""
    expected = {"clean_utility": 0.6, "worst_utility": 0.3, "best_t": 145, "best_sigma": 0.252}
    expected |= {"utility/clean/t0": 0.9, "utility/worst/t0": 0.1, "utility/worst/t50": 0.2}
    last = logged.history[-1]
    assert {name: last[name] for name in expected} == expected
    assert logged.summary["seconds"] == 12.5
    assert logged.summary["calls"] == SUMMARY["calls"]


def test_runs_are_found_by_settings_group_and_tags(logged):
    assert {name: logged.config[name] for name in CONFIG} == CONFIG
    assert logged.config["versions"] == SUMMARY["versions"]
    assert logged.config["weights"] == SUMMARY["weights"]
    assert logged.config["planned"] == {"images": 2, "conditions": KEYS, "calls": SUMMARY["calls"]}
    run = logged.run
    assert (run.run_group, run.display_name, run.job_type) == ("study", "a", "evaluation")
    assert set(run.tags) == {"Classification", "Scenes", "scenes-classification", "DiffusionDenoiser"}


NETWORKS = {
    "ResNet": {"class_path": "my.ResNet", "init_args": {"model": "inner"}},
    "resnet18": {
        "class_path": "dds.models.pretrained",
        "init_args": {"model": {"class_path": "timm.create_model", "init_args": {"model_name": "resnet18"}}},
    },
    "n" * 60 + ".pth": "folder/" + "n" * 60 + ".pth",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_tag_of_a_network(folder, monkeypatch, name):
    folder.config.write_text(
        yaml.safe_dump({"task": {"init_args": {"model": NETWORKS[name]}}, "protocol": {}})
    )
    given = {}
    monkeypatch.setattr(wandb, "init", lambda **options: given.update(options) or Fake(folder))
    log_to_wandb(folder)
    assert given["tags"] == ["Classification", "Scenes", name[-64:]]
    knows = "finish_timeout" in wandb.Settings.model_fields  # newer versions do
    assert given["settings"].get("finish_timeout", 0) == 300 * knows


def test_a_row_for_each_condition(logged):
    rows = read_table(logged, "conditions")
    assert [row["key"] for row in rows] == KEYS
    for row, condition in zip(rows, SUMMARY["conditions"], strict=True):
        assert row["accuracy"] == condition["metrics"]["accuracy"]["value"]
        assert row["draws"] == condition["draws"]
    first, *_, last = rows
    assert (first["defence"], first["t"], first["sigma"], first["utility_drop"]) == ("t0", 0, 0, 0)
    assert (last["defence"], last["t"], last["sigma"], last["accuracy_high"]) == ("jpeg", None, None, None)


def test_a_row_of_pictures_for_each_example_and_condition(logged):
    rows = logged.pictures
    assert [(row["image"], row["key"]) for row in rows] == [(image, key) for image in (5, 34) for key in KEYS]
    for row in rows:
        assert row["decision"] == ("class 1" if row["image"] == 5 else "class 2 (wrong)")
        for stage in ("original", "attacked", "task saw"):
            assert (row[stage]["_type"], row[stage]["height"]) == ("image-file", 8)
        assert (row["perturbation"] is None) == (row["attack"] == "clean")
    assert "× 15" in rows[-1]["perturbation"]["caption"]  # 127 levels of grey for a step of 8


def test_the_pictures_are_bounded(folder, monkeypatch):
    monkeypatch.setattr(dds.loggers.wandb_log, "_PICTURED", 3)
    log_to_wandb(folder)
    assert len(read_table(read_wandb(folder.path), "examples")) == 3


def test_figures_report_and_charts(logged, folder):
    last = logged.history[-1]
    for name in ("utility", "trade_off"):
        assert (logged.files / last[f"figures/{name}.path"]).is_file()
    (page,) = logged.files.glob("media/html/report_*.html")
    assert page.read_text() == folder.report.read_text()
    for axis, levels in (("noise_level", [0, 50, 145]), ("sigma", [0, 0.088, 0.252])):
        rows = read_table(logged, f"utility/over_{axis}_table")
        clean = [(row["step"], row["lineVal"]) for row in rows if row["lineKey"] == "clean"]
        assert clean == list(zip(levels, [0.9, 0.8, 0.6], strict=True))


def test_what_is_certified_over_the_radius_and_over_the_noise_level(logged):
    for place, end in enumerate(("certified", "attacked")):
        for ratio in (0.25, 1.0):
            curve = [row.get(f"{end}/correct/{ratio:g}sigma") for row in logged.history]
            assert curve == [None, CERTIFIED["t50", ratio][place], CERTIFIED["t145", ratio][place]]
    for defence, (_, sigma) in list(PLACES.items())[1:3]:
        rows = read_table(logged, f"certified_over_radius/correct/{defence}_table")
        points = {
            key: [(row["step"], row["lineVal"]) for row in rows if row["lineKey"] == key]
            for key in ("certified", "attacked")
        }
        both = [(ratio * sigma, *CERTIFIED[defence, ratio]) for ratio in (0.25, 1.0)]
        assert points["certified"] == [(radius, value) for radius, value, _ in both]
        assert points["attacked"] == [(0, 0.8), *((radius, left) for radius, _, left in both)]
    assert [row["attacked"] for row in read_table(logged, "certificates")] == [
        0.75,
        0.5,
        0.45,
        0.3,
        None,
        None,
    ]
    votes = [row.get("certified/correct (vote)/0.25sigma") for row in logged.history]
    assert votes == [None, 0.125, None]
    drawn = read_table(logged, "certified_over_radius/correct (vote)/t50_table")
    assert [row["lineVal"] for row in drawn] == [0.125, 0.5]


def test_everything_waits_below_the_run_folder(folder, fresh):
    line = log_to_wandb(folder)
    assert f"wandb sync {folder.path}/wandb/offline-run-" in line
    assert list(folder.path.glob("wandb/artifacts/staging/*"))


def test_under_an_agent_the_run_joins_the_sweep(folder, fresh):
    parameters = folder.path / "sweep.yaml"
    parameters.write_text("wandb_version: 1\nprotocol.noise_levels:\n  value: [145]\n")
    for name, value in (("SWEEP_ID", "sw33p"), ("RUN_ID", "r0n"), ("SWEEP_PARAM_PATH", str(parameters))):
        fresh.setenv(f"WANDB_{name}", value)
    log_to_wandb(folder)
    read = read_wandb(folder.path)
    assert (read.run.sweep_id, read.run.run_id) == ("sw33p", "r0n")
    assert (folder.wandb / "run.json").read_text() == '{"id": "r0n"}\n'
    assert read.config["protocol.noise_levels"] == [145]
    assert read.config["protocol"] == CONFIG["protocol"]


def test_an_unreachable_server_leaves_an_offline_run_and_says_so(folder, fresh):
    """A key, but nobody who answers."""
    tried, init = [], wandb.init

    def start(mode="online", **options):
        tried.append(mode)
        if mode == "online":
            raise wandb.errors.CommError("Run initialization has timed out after 30.0 sec.\nand more")
        return init(mode=mode, **options)

    fresh.setattr(wandb, "init", start)
    line = log_to_wandb(folder)
    assert tried == ["online", "offline"]
    assert line.startswith(
        "offline, Run initialization has timed out after 30.0 sec.; send it with: wandb sync"
    )
    assert list(folder.path.glob("wandb/offline-run-*/*.wandb"))


def test_without_a_key_nobody_is_asked_for_one(folder, fresh, tmp_path):
    fresh.delenv("WANDB_MODE")
    fresh.delenv("WANDB_API_KEY", raising=False)
    fresh.setenv("NETRC", str(tmp_path / "nothing"))
    fresh.setattr("sys.stdin.isatty", lambda: True, raising=False)
    fresh.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert log_to_wandb(folder).startswith("offline, No API key configured")


def test_whoever_disables_it_gets_none(folder, fresh):
    fresh.setenv("WANDB_MODE", "disabled")
    assert log_to_wandb(folder) == "disabled"
    assert not (folder.path / "wandb").exists()


def test_its_process_is_not_waited_for_once_it_is_given_up(folder, fresh):
    """By what is private to W&B, which may change."""
    WandbDashboard("dds").begin(folder, SUMMARY, KEYS)
    process = wandb_setup._singleton._connection._proc._process
    _end_service()
    assert process.wait(10) == -signal.SIGKILL
    fresh.setattr(wandb_setup, "_singleton", None)


class Fake:
    """A W&B run that does nothing, or fails where it is told to."""

    def __init__(self, folder, log=None, finish=None):
        self.dir, self.url, self.summary = str(folder.path / "wandb" / "run" / "files"), "https://w.b/r", {}
        self.id, self.offline = "r0n", False
        self._errors, self.finished = {"log": log, "finish": finish}, False

    def define_metric(self, *names, **options):
        pass

    def log(self, values):
        self._fail("log")

    def finish(self, exit_code):
        self.finished = True
        self._fail("finish")

    def _fail(self, where):
        if self._errors[where]:
            raise self._errors[where]


def test_an_upload_that_takes_too_long_is_given_up(folder, monkeypatch):
    run = Fake(folder, finish=TimeoutError("Timed out finishing run."))
    monkeypatch.setattr(wandb, "init", lambda **options: run)
    assert log_to_wandb(folder).endswith(f"wandb sync {folder.path}/wandb/run")


def test_a_run_that_fails_is_finished_all_the_same(folder, monkeypatch):
    run = Fake(folder, log=wandb.Error("lost"))
    monkeypatch.setattr(wandb, "init", lambda **options: run)
    courier = Courier(WandbDashboard("dds"), folder, SUMMARY, KEYS)
    courier.end(True, SUMMARY)
    assert courier.wait(30) == f"Warning: W&B failed (Error: lost); the results are in {folder.path}"
    assert run.finished
