import io
import itertools

from rich.console import Console
from test_division import make_job


def said(monkeypatch, seconds):
    """Go through all conditions, each of which takes a while, and return what is said in a file."""
    clock, written = itertools.count(0, seconds), io.StringIO()
    monkeypatch.setattr("dds.telling.time.monotonic", lambda: next(clock))
    job = make_job()
    job._console = Console(file=written, width=200)
    assert list(job.each_condition("Metrics")) == job.grid.conditions
    return written.getvalue().splitlines()


def test_long_work_says_how_far_it_is(monkeypatch):
    assert said(monkeypatch, seconds=40)[:2] == ["Metrics: 1 of 10 conditions", "Metrics: 3 of 10 conditions"]


def test_short_work_says_nothing(monkeypatch):
    assert said(monkeypatch, seconds=1) == []


def test_a_terminal_gets_a_bar():
    job, written = make_job(), io.StringIO()
    job._console = Console(file=written, width=80, force_terminal=True)
    assert list(job.each_condition("Metrics")) == job.grid.conditions
    assert "Metrics" in written.getvalue()
    assert "100%" in written.getvalue()
