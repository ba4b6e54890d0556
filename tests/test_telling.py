"""How far it is, where people wait: in terminals, in notebooks, in files."""

import io
import itertools

import pytest
from rich.console import Console

from dds.telling import told


@pytest.fixture
def outputs(monkeypatch):
    """The outputs of a notebook cell, each with all that it has shown."""
    made = []

    class Output:
        def __init__(self, thing):
            self.shown = []
            self.update(thing)

        def update(self, thing, raw=False):
            self.shown.append(thing if raw else thing._repr_mimebundle_([], [])["text/plain"])

    def display(thing, display_id):
        assert display_id is True
        made.append(Output(thing))
        return made[-1]

    monkeypatch.setattr("IPython.display.display", display)
    return made


@pytest.fixture
def clock(monkeypatch):
    """A second passes whenever somebody looks."""
    ticks = itertools.count()
    monkeypatch.setattr("dds.telling.time.monotonic", lambda: next(ticks))


def test_a_notebook_has_one_bar_that_grows_and_goes(outputs, clock):
    assert list(told([1, 2, 3, 4], "Counting", Console(force_jupyter=True))) == [1, 2, 3, 4]
    (output,) = outputs
    *grown, last = output.shown
    for share, text in zip((25, 50, 75, 100), grown, strict=True):
        assert "Counting" in text
        assert f"{share}%" in text
    assert last == {}


def test_what_is_done_at_once_is_not_shown(outputs):
    assert list(told([1, 2, 3], "Counting", Console(force_jupyter=True))) == [1, 2, 3]
    assert not outputs


def test_a_quiet_notebook_shows_nothing(outputs, clock):
    assert list(told([1, 2, 3], "Counting", Console(force_jupyter=True, quiet=True))) == [1, 2, 3]
    assert not outputs


def test_a_file_gets_a_line_a_minute_and_no_bar(monkeypatch):
    ticks, file = itertools.count(0, 40), io.StringIO()
    monkeypatch.setattr("dds.telling.time.monotonic", lambda: next(ticks))
    assert list(told([1, 2, 3, 4], "Counting", Console(file=file, width=80), "things"))
    lines = file.getvalue().splitlines()
    assert lines
    assert all(line.startswith("Counting: ") and line.endswith(" of 4 things") for line in lines)


def test_a_terminal_has_a_bar_that_goes():
    file = io.StringIO()
    assert list(told([1, 2], "Counting", Console(file=file, force_terminal=True, width=80))) == [1, 2]
    assert "Counting" in file.getvalue()
    assert "100%" in file.getvalue()
