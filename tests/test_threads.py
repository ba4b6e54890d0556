"""Threads: as many as there are cores to spare."""

import os

import pytest
import torch

from dds import threads


@pytest.fixture(autouse=True)
def as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "usable", "load", "chosen"),
    [
        (8, 8, 0.0, 8),
        (8, 8, 0.2, 8),
        (8, 8, 1.0, 7),
        (8, 8, 3.9, 4),
        (8, 8, 20.0, 1),
        (64, 4, 40.0, 4),
        (1, 1, 0.0, 1),
    ],
)
def test_cores_that_other_work_keeps_busy_are_left_to_it(cores, usable, load, chosen, monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(threads, "busy_cores", lambda: load)
    monkeypatch.setattr(threads, "usable_cores", lambda: usable)
    assert threads.choose_threads().startswith(f"Computing on the CPU with {chosen} of {usable} cores")
    assert torch.get_num_threads() == chosen


def test_what_the_environment_says_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    assert threads.choose_threads() == ""
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8)]
)
def test_a_container_may_use_fewer(quota, cores, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(threads, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert threads.usable_cores() == cores


def test_how_busy_the_machine_is(tmp_path, monkeypatch):
    """In ticks: user, nice, system, idle, iowait, irq, softirq, steal, guest (which user holds, too)."""
    file = tmp_path / "stat"
    file.write_text("cpu  100 0 0 1000 0 0 0 0 0 0\ncpu0 1 2 3\n")
    monkeypatch.setattr(threads, "CPU_TIMES", file)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    later = "cpu  130 10 5 1140 10 1 2 2 30 0\n"
    monkeypatch.setattr(threads.time, "sleep", lambda seconds: file.write_text(later))
    assert threads.busy_cores() == pytest.approx(4 * 50 / 200)
    file.unlink()
    assert threads.busy_cores() == 0
