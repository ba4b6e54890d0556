"""Jobs that submitit starts: by its templates of SLURM, and as processes of this machine."""

import io
import logging.config
import multiprocessing
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from submitit.core.logger import CONFIG
from submitit.core.submission import process_job
from submitit.core.utils import DelayedSubmission, UncompletedJobError
from submitit.local.local import Controller
from submitit.slurm.slurm import SlurmJob
from test_division import assert_same, run_job, whole  # noqa: F401

from dds.cluster import Request, engine, submit, waiting
from dds.cluster.command import _wait
from dds.errors import InputError
from dds.runs import RunFolder, pulling
from dds.runs.stopping import stoppable
from dds.runs.writer import ResultsWriter

FORK = multiprocessing.get_context("fork")


def work(command):
    """Stand for the command line of an evaluation: take images, and be interrupted once in between."""
    folder = RunFolder(Path(command[0]))
    pulling.PAUSE = 0.1
    written = ResultsWriter.on_test_batch_end

    def interrupted(self, *arguments):
        written(self, *arguments)
        if "--interrupted" in command and is_first(folder.path.with_name("interrupted")):
            os.kill(os.getpid(), signal.SIGTERM)  # which submitit has jobs pass over
            os.kill(os.getpid(), signal.SIGUSR2)

    if "--failing" in command and is_first(folder.path.with_name("failed")):
        raise InputError("no memory:\nnone at all")
    ResultsWriter.on_test_batch_end = interrupted
    with stoppable():
        run_job(folder.path, share="auto")


def is_first(mark):
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def submitted(request, tmp_path, *options):
    """Submit jobs; return run, logs and what is said."""
    said, folder = io.StringIO(), RunFolder(tmp_path / "run")
    submit(request, work, [str(folder.path), *options], folder, Console(file=said, width=200))
    return folder, tmp_path / ".jobs" / "run", said.getvalue()


class Forked:
    """Stands for `subprocess.Popen`: a copy of this process does what another Python would start with."""

    def __init__(self, command, env, stdout=None, stderr=None, **more):
        self._process = FORK.Process(target=as_python, args=(command, env, stdout, stderr))
        self._process.start()
        self.pid = self._process.pid
        self.send_signal = partial(os.kill, self.pid)

    def poll(self):
        return self._process.exitcode


def as_python(command, env, stdout, stderr):
    os.environ.clear()
    os.environ.update(env)
    sys.stdout, sys.stderr = stdout or sys.stdout, stderr or sys.stderr
    if "submitit.local._local" in command:
        Controller(Path(command[-1])).run()
    else:
        logging.config.dictConfig(CONFIG)  # by which submitit speaks to these streams
        process_job(command[-1])


# SLURM


def run_slurm(logs, *numbers):
    """Run jobs, and return their exit statuses."""
    task = {"JOB_ID": 7, "ARRAY_JOB_ID": 4242, "JOB_NAME": "dds", "NTASKS": 1, "PROCID": 0, "LOCALID": 0}
    env = {**os.environ, "SUBMITIT_EXECUTOR": "slurm", "SLURM_NODEID": "0"}
    env |= {f"SLURM_{name}": str(value) for name, value in task.items()}
    jobs = [
        Forked([logs], {**env, "SLURM_ARRAY_TASK_ID": str(number)}, (logs / f"{number}.out").open("a"))
        for number in numbers
    ]
    while None in (statuses := [job.poll() for job in jobs]):
        time.sleep(0.05)
    return statuses


def test_slurms_jobs_are_requeued_and_go_on_to_the_same_results(slurm, whole, tmp_path):  # noqa: F811
    request = Request(2, "slurm", {"partition": "gpu", "time": 60, "additional_parameters": {"x": 1}}, 5)
    folder, logs, said = submitted(request, tmp_path, "--interrupted")
    assert "Jobs: 4242_0, 4242_1" in said
    assert "squeue --jobs=4242" in said
    script = (logs / "4242_submission.sh").read_text()
    for line in ("array=0-1%2", "partition=gpu", "time=60", "x=1", "requeue", "signal=USR2@90", "nodes=1"):
        assert f"#SBATCH --{line}\n" in script
    job = DelayedSubmission.load(logs / "4242_1_submitted.pkl")
    assert job.function.command[1:] == ["--interrupted", "--share=auto", "--name=run", "--trainer.devices=1"]
    assert job._timeout_countdown == 5

    assert run_slurm(logs, 1) == [255]
    assert (slurm / "scontrol.log").read_text() == "requeue 4242_1\n"
    assert "Bypassing signal SIGTERM" in (logs / "1.out").read_text()
    assert len(folder.part_files()) == 1
    assert not list(folder.parts.glob("*.alive.partial"))  # others take at once what it had claimed
    assert run_slurm(logs, 0, 1) == [0, 0]
    assert_same(folder.path, whole)


def test_a_job_whose_time_was_over_too_often_fails(slurm, tmp_path):
    """Of less than ten minutes submitit says that they are over at once."""
    folder, logs, _ = submitted(Request(2, "slurm", {"time": 9}, 0), tmp_path, "--interrupted")
    assert run_slurm(logs, 0) == [1]
    said = engine.last_line_of(SlurmJob(logs, "4242_0").exception())
    assert said.endswith("Job not requeued because: timed-out too many times.")
    assert len(folder.part_files()) == 1
    assert not (slurm / "scontrol.log").exists()


def test_a_job_that_was_killed_is_said_to_be():
    error = UncompletedJobError(
        "Job 7 with path 7_0_result.pkl\nhas not produced any output (state: FINISHED)"
    )
    assert engine.last_line_of(error) == "it was killed, or could not begin"


def test_what_sbatch_refuses_is_said(slurm, tmp_path, capfd):
    (slurm / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: Invalid partition' >&2\nexit 1\n")
    with pytest.raises(InputError, match=r"^sbatch refuses the jobs: Invalid partition$"):
        submitted(Request(2, "slurm", {}, 5), tmp_path)


# This machine


def test_local_jobs_are_waited_for(whole, tmp_path, monkeypatch, capsys):  # noqa: F811
    """One fails at once, one is interrupted; the latter is requeued and does all the work."""
    monkeypatch.setattr("submitit.local.local.subprocess.Popen", Forked)
    with pytest.raises(SystemExit) as end:
        submitted(Request(2, "local", {}, 5), tmp_path, "--interrupted", "--failing")
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert said.count("failed: no memory. Log: ") == 1
    assert "go on by the same command and --name=run" in said
    logs = "".join(path.read_text() for path in (tmp_path / ".jobs" / "run").glob("*.out"))
    assert logs.count("this job is preempted") == logs.count("Requeued job") == 1
    assert_same(tmp_path / "run", whole)


def test_local_jobs_take_the_machines_gpus_in_turn(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-1")
    monkeypatch.setattr(engine.AutoExecutor, "submit_array", lambda executor, shares: shares)

    def look(command):
        print(*command, os.environ["CUDA_VISIBLE_DEVICES"])

    for share in engine.start(Request(3, "local", {}, 5), look, ["device"], tmp_path):
        share()
    assert capsys.readouterr().out.splitlines() == ["device 3", "device GPU-1", "device 3"]


class Waiting:
    """A job that ends when it is told to, or after so many looks at it."""

    job_id = "1"
    ended = False

    def __init__(self, log, looks=0):
        self.paths, self.looks = SimpleNamespace(stdout=log), looks

    def done(self):
        self.looks -= 1
        if self.looks == -1:
            os.kill(os.getpid(), signal.SIGINT)
        return self.ended or self.looks == 1

    def cancel(self, check):
        self.ended = True


@pytest.fixture
def ctrl_c():
    """Have Ctrl-C heard: tests in the background are told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_jobs_of_this_machine_end_with_their_command(tmp_path, capsys, ctrl_c):
    job = Waiting(tmp_path / "log")
    with pytest.raises(SystemExit) as end:
        _wait([job], Console(), "study")
    assert (end.value.code, job.ended) == (130, True)
    assert "go on by the same command and --name=study." in capsys.readouterr().err


@pytest.mark.parametrize("is_terminal", [True, False])
def test_it_is_shown_how_far_they_are(is_terminal, tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "_PAUSE", 0)
    monkeypatch.setattr(waiting, "_SPEAK", -1)
    (tmp_path / "log").write_text("Now measuring\nsubmitit INFO (2026-01-01) - Requeued job 1\n")
    said = io.StringIO()
    waiting.wait_for(
        [Waiting(tmp_path / "log", looks=3)], Console(file=said, width=80, force_terminal=is_terminal)
    )
    assert ("at work" if is_terminal else "Job 1: Requeued job 1\n") in said.getvalue()
    assert "submitit" not in said.getvalue()
