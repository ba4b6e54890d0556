"""Jobs that take images as they go: whoever joins, leaves or dies, each image is measured once."""

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from callbacks.test_attack_and_purify import trainer
from conftest import TinyClassifier
from rich.console import Console
from runs.test_claims import be_silent, signs
from test_division import CONFIG, OfManySizes, assert_same, make_job, measure, run_job, whole  # noqa: F401

from dds.errors import InputError
from dds.runs import ResultsWriter, RunFolder, claims, pulling, writer
from dds.runs.claims import Claims

IMAGES = 48
JOBS, LATE = 20, 10
MERGED = 10
"""Exit status of a job that merges."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(claims, "SILENCE", 3.0)
    monkeypatch.setattr(pulling, "PAUSE", 0.1)


def parts_of(folder):
    return sorted(folder.glob("parts/*.parquet"))


# Twenty processes


def start(folder, moment=None):
    process = multiprocessing.get_context("fork").Process(target=as_job, args=(folder, moment))
    process.start()
    return process


def as_job(folder, moment):
    if moment is not None:
        die_at(folder / "parts", *moment)
    sys.exit(MERGED if run_job(folder, share="auto", images=IMAGES, data=OfManySizes) else 0)


def die_at(parts, kind, number):
    """Have this process killed just before it does something for the nth time."""
    count = 0

    def happens(now):
        nonlocal count
        count += now == kind
        if (now, count) == (kind, number):
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event, details):
        if event in ("open", "os.rename") and Path(str(details[0])).parent == parts:
            happens("claim" if event == "open" and details[1] == "x" else event)

    sys.addaudithook(watch)
    forward = TinyClassifier.forward
    TinyClassifier.forward = lambda *given: (happens("attack"), forward(*given))[1]


def test_twenty_jobs_of_which_five_die_and_ten_come_late(tmp_path, monkeypatch):
    """They die between two claims, in an attack, before a part has its name; their images go to others."""
    monkeypatch.setattr(claims, "BEAT", 0.2)
    choose = random.Random(0)
    kinds = {"claim": 3, "attack": 60, "os.rename": 2}
    moments = [(kind, choose.randint(1, kinds[kind])) for kind in [*kinds, "attack", "claim"]]
    folder = tmp_path / "run"
    dying = [start(folder, moment) for moment in moments]
    living = [start(folder) for _ in range(JOBS - LATE - len(dying))]
    for process in dying:
        process.join(60)
    assert [process.exitcode for process in dying] == [-signal.SIGKILL] * len(moments)
    living += [start(folder) for _ in range(LATE)]
    for process in living:
        process.join(60)
    assert {process.exitcode for process in living} == {0, MERGED}
    assert run_job(tmp_path / "alone", images=IMAGES, data=OfManySizes)
    assert_same(folder, tmp_path / "alone")


# One after another


def take_away(folder):
    """Be another job that takes all of this one's images, as if it were dead."""
    be_silent(folder / "parts")
    with Claims(RunFolder(folder).board()) as other:
        assert all(map(other.take, other.free(range(IMAGES))))


@pytest.mark.parametrize("moment", ["at work", "before the name"])
def test_a_suspended_job_that_lost_its_claim_writes_nothing(whole, tmp_path, monkeypatch, moment):  # noqa: F811
    folder, found = tmp_path / "run", []
    end, write = ResultsWriter.on_test_batch_end, writer.write_parquet

    def lose(*arguments):
        if not found:
            take_away(folder)
            found.append("lost")

    def at_work(*arguments):
        lose() if moment == "at work" else None
        end(*arguments)
        found.append(parts_of(folder))

    def before_the_name(*arguments):
        write(*arguments)
        lose() if moment == "before the name" else None

    monkeypatch.setattr(ResultsWriter, "on_test_batch_end", at_work)
    monkeypatch.setattr(writer, "write_parquet", before_the_name)
    assert run_job(folder, share="auto")
    assert found[:2] == ["lost", []]
    assert_same(folder, whole)


def test_a_job_that_ends_leaves_what_it_held_to_others_at_once(whole, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(claims, "SILENCE", 60.0)
    end = ResultsWriter.on_test_batch_end

    def stop(self, trainer, task, outputs, batch, batch_idx):
        if batch_idx == 1:
            raise KeyError("out of memory")
        end(self, trainer, task, outputs, batch, batch_idx)

    monkeypatch.setattr(ResultsWriter, "on_test_batch_end", stop)
    with pytest.raises(KeyError):
        run_job(tmp_path / "run", share="auto")
    monkeypatch.setattr(ResultsWriter, "on_test_batch_end", end)
    (part,) = parts_of(tmp_path / "run")
    assert not signs(tmp_path / "run" / "parts")
    began = time.monotonic()
    assert run_job(tmp_path / "run", share="auto")
    assert time.monotonic() - began < claims.SILENCE
    assert "This job measured 5 of 7 images." in capsys.readouterr().out
    assert_same(tmp_path / "run", whole)
    assert part.name.startswith("000000000-")


def test_a_job_that_finds_the_run_finished_ends(whole, tmp_path, capsys):  # noqa: F811
    assert run_job(tmp_path / "run", share="auto")
    assert run_job(tmp_path / "run", share="auto")  # who merged was killed before the summary
    RunFolder(tmp_path / "run").write_summary({})
    assert not run_job(tmp_path / "run", share="auto")
    said = " ".join(capsys.readouterr().out.split())
    assert "This job measured 0 of 7 images. All is measured; another job writes the summary." in said


def test_the_job_that_merges_may_die(whole, tmp_path):  # noqa: F811
    job, folder = make_job(share="auto"), tmp_path / "run"
    assert measure(job, folder)
    dead = Claims(RunFolder(folder).board())
    assert dead.free([pulling._MERGING])
    assert dead.take(pulling._MERGING)
    be_silent(folder / "parts")
    assert job.merge(RunFolder(folder))
    assert_same(folder, whole)


def test_what_a_dead_job_had_measured_of_an_image_after_all_is_not_measured_again(tmp_path):
    """It held the image for some conditions, seemed dead, and wrote just before its claim was taken."""
    folder, job = tmp_path / "run", make_job(share="auto")
    run_job(folder, share="2/7")
    dead = Claims(RunFolder(folder).board())
    assert dead.free([0])
    assert dead.take(0)
    be_silent(folder / "parts")
    walks = pulling.Pulling(RunFolder(folder), job.grid, job.own, Console()).walks()
    _, own = next(walks)
    run_job(folder, share="1/7", conditions="pgd/*")
    assert [own.take(0), own.take(2)] == [False, True]
    pieces, _ = next(walks)
    (seen,) = [piece for piece in pieces if 0 in piece.images]
    assert {condition.attack for condition in seen.conditions} == {"clean"}


def test_each_process_is_a_job_of_its_own(tmp_path):
    job, writes = make_job(share="auto"), ResultsWriter(RunFolder(tmp_path / "run"), CONFIG)
    with pytest.raises(InputError, match=r"--share=auto with 2 processes; expected one in each job"):
        job.measure(trainer(devices=2, strategy="ddp"), writes)
    assert not list(tmp_path.iterdir())
