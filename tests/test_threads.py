"""Threads: as many as there are cores to spare, and none that spins."""

import os
import subprocess
import sys

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


def test_threads_sleep_while_they_wait():
    """It must be said before torch is loaded."""
    said = "import sys, dds.threads, os; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    code = f"import sys; sys.modules['dds'] = type(sys)('dds'); sys.modules['dds'].__path__ = ['dds']; {said}"
    root = os.path.dirname(os.path.dirname(threads.__file__))  # noqa: PTH120
    bare = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    found = subprocess.run([sys.executable, "-c", code], cwd=root, env=bare, capture_output=True, text=True)
    assert found.stdout.split() == ["PASSIVE", "False"]
