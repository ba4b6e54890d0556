"""Runs that are killed, stopped or out of room, and go on to the same results."""

import errno
import multiprocessing
import os
import random
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from test_division import run_job

from dds import cli, whole_file
from dds.errors import InputError
from dds.runs import RunFolder
from dds.tasks import BaseTask

SMALL = ["--data.size=16", "--data.test_images=20", "--data.limit=8", "--data.batch_size=1", "--logger=false"]
SMALL += ["--protocol.noise_levels=[10]", "--protocol.draws=2", "--trainer.accelerator=cpu"]
SMALL += ["--protocol.attacks.pgd.init_args.steps=2"]


class Prepared:
    """Stands for the parser: has read the YAML once and for all, which takes seconds."""

    def __init__(self, folder):
        parser = cli.evaluation_parser()
        self.config = parser.parse_args(["--config", "cls_scenes.yaml", *SMALL, f"--runs={folder}"])
        self.instantiate, self.dump = parser.instantiate, parser.dump

    def parse_args(self, options):
        config = self.config.clone()
        for option in options:
            name, _, value = option.removeprefix("--").partition("=")
            config[name] = yaml.safe_load(value)
        return config


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Let `evaluate` be quick, and run it undisturbed once."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        prepared = Prepared(folder)
        patch.setattr(cli, "evaluation_parser", lambda: prepared)
        patch.setattr(cli, "write_report", lambda folder, summary: folder.report)
        folder = folder / "cls_scenes"
        folder.mkdir()
        assert command(folder / "whole") == 0
        yield folder


def command(folder, at=None, send=signal.SIGKILL, **options):
    """Run the command in a process of its own; when the nth event of a kind comes, send it a signal.

    Return its exit status. What it says is in `<folder>.said`, what happens to it in `<folder>.events`.
    """
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=evaluate, args=(folder, {"name": folder.name, **options}, at, send))
    process.start()
    process.join(100)
    return process.exitcode


def evaluate(folder, options, at, send):
    events = folder.with_suffix(".events").open("w")
    said = folder.with_suffix(".said").open("w")
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    sys.stderr = sys.stdout = said
    count = dict.fromkeys(("start", "attack", "write", "merge"), 0)

    def happens(kind):
        count[kind] += 1
        print(kind, file=events, flush=True)
        if at == (kind, count[kind]):
            os.kill(os.getpid(), send)

    def watch(event, details):
        if event in ("os.mkdir", "os.rename", "shutil.rmtree", "open"):
            path, reading = Path(str(details[0])), event == "open" and details[1] in ("r", "rb", None)
            if path.is_relative_to(folder) and not reading:
                happens(kind_of(path, event, folder))

    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background are told to ignore it
    sys.addaudithook(watch)
    BaseTask.forward = with_event(BaseTask.forward, happens)
    cli.evaluate([f"--{name}={value}" for name, value in options.items()])


def kind_of(path, event, folder):
    if event == "os.mkdir" or path.name.startswith("config"):
        return "start"
    return "write" if path.parent == folder / "parts" else "merge"


def with_event(forward, happens):
    def call(self, image):
        happens("attack")
        return forward(self, image)

    return call


def events_of(folder):
    return folder.with_suffix(".events").read_text().split()


def said_of(folder):
    return " ".join(folder.with_suffix(".said").read_text().split())


def assert_same(folder, whole):
    for name in ("samples", "votes"):
        pd.testing.assert_frame_equal(*(pd.read_parquet(run / f"{name}.parquet") for run in (folder, whole)))
    summaries = [RunFolder(one).read_summary() for one in (folder, whole)]
    assert all(summary.pop("seconds") > 0 for summary in summaries)
    assert summaries[0] == summaries[1]
    files = [sorted(path.relative_to(run) for path in run.rglob("*")) for run in (folder, whole)]
    assert files[0] == files[1]


def test_killed_at_ten_random_moments(runs):
    """Two in the start, three each in attacks and in writing, two in merging; nothing is measured twice."""
    folder, choose, finished = runs / "killed", random.Random(0), {}
    moments = [("start", 6), ("start", 3), *[("attack", 40), ("write", 3)] * 3, ("merge", 8), ("merge", 3)]
    for kind, latest in moments:
        at = (kind, choose.randint(1, latest))
        assert command(folder, at, resume=True) == -signal.SIGKILL, at
        kept = {part: part.stat().st_mtime_ns for part in (folder / "parts").glob("*.parquet")}
        assert finished.items() <= kept.items() or (folder / "samples.parquet").exists()
        finished = kept
    assert command(folder, resume=True) == 0
    assert_same(folder, runs / "whole")


SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 138}


@pytest.mark.parametrize("sent", SIGNALS)
def test_a_signal_ends_a_run_at_once_and_says_how_to_go_on(runs, sent):
    folder, undisturbed = runs / sent.name, events_of(runs / "whole")
    moment = undisturbed[: undisturbed.index("write")].count("attack") + 6  # amid the second image
    assert command(folder, at=("attack", moment), send=sent) == SIGNALS[sent]
    assert events_of(folder).count("attack") == moment  # that image was dropped
    assert f"Stopped by {sent.name}. What was measured is kept" in said_of(folder)
    assert f"the same command and --resume --name={sent.name}." in said_of(folder)
    assert "Traceback" not in said_of(folder)
    assert len(list((folder / "parts").glob("*.parquet"))) == 1
    if sent is signal.SIGTERM:
        assert command(folder, resume=True) == 0
        assert_same(folder, runs / "whole")


def test_a_signal_before_anything_is_measured_leaves_nothing(runs):
    folder = runs / "early"
    assert command(folder, at=("attack", 1), send=signal.SIGTERM) == 143
    assert not folder.exists()


class Full:
    """A disk that takes only so many more files."""

    def __init__(self, takes, error=errno.ENOSPC):
        self.takes, self.error = takes, error

    def __call__(self, descriptor):
        self.takes -= 1
        if self.takes < 0:
            raise OSError(self.error, os.strerror(self.error))


def test_nobody_loads_a_checkpoint_that_lies_about_under_slurm(runs, tmp_path, monkeypatch):
    """Lightning does, from the working directory, into the network to be evaluated."""
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"of a training that was here")
    monkeypatch.chdir(tmp_path)
    job = {"NTASKS": "1", "JOB_NAME": "x", "JOB_ID": "123456", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert command(runs / "slurm") == 0
    assert_same(runs / "slurm", runs / "whole")


@pytest.mark.parametrize("takes", [0, 4, 12, 14])
def test_a_full_disk_is_named_and_what_was_measured_is_kept(runs, monkeypatch, takes):
    """After config, plan, examples and eight parts come the votes, the samples, the examples, the summary."""
    folder = runs / f"full{takes}"
    with monkeypatch.context() as patch:
        patch.setattr(whole_file.os, "fsync", Full(takes))
        assert command(folder) == 2
    assert "cannot be written: No space left on device. Make room" in said_of(folder)
    assert "Traceback" not in said_of(folder)
    assert not list(folder.rglob("*.partial"))
    if takes in (4, 12):
        assert len(list((folder / "parts").glob("*.parquet"))) == min(takes - 3, 8)
        assert command(folder, resume=True) == 0
        assert_same(folder, runs / "whole")


@pytest.mark.parametrize("error", [errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_a_disk_that_takes_nothing_is_named(tmp_path, monkeypatch, error):
    monkeypatch.setattr(whole_file.os, "fsync", Full(3, error))
    with pytest.raises(InputError, match=os.strerror(error)):
        run_job(tmp_path / "run")
    assert len(list((tmp_path / "run" / "parts").glob("*"))) == 1  # the examples


def test_figures_that_find_no_room_are_named(tmp_path):
    with (
        pytest.raises(InputError, match=r"figures cannot be written: No space left"),
        whole_file.writing(tmp_path / "figures"),
    ):
        Path("/dev/full").write_bytes(b"png")
