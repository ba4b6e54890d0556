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
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
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
