import io
import itertools

import pytest
from callbacks.test_attack_and_purify import Arrays, protocol, trainer
from conftest import TinyClassifier
from lightning.pytorch import Callback
from rich.console import Console

from dds.attacks import PGD
from dds.callbacks import NetworkProgress
from dds.tasks import Classification


def test_the_bar_is_full_at_the_end():
    """Three images in batches of two: the last is filled up, and the rehearsals before come on top."""
    callback = protocol()
    progress = NetworkProgress(callback)
    trainer(callback, progress).test(Classification(TinyClassifier()), Arrays(2, images=3), verbose=False)
    (task,) = progress._bar.tasks
    assert task.total == 2 * (callback.cost.task.forward + callback.cost.purifier.forward)
    assert task.completed == task.total


class Unplanned(PGD):
    """Calls as often as it needs, of every image another number."""

    task_calls = purifier_calls = None

    def craft(self, task, batch, through, streams):
        self.steps = 1 + int(batch["index"][0])
        return super().craft(task, batch, through, streams)


class Thrifty(PGD):
    """Is thought to call more often than it does."""

    def craft(self, task, batch, through, streams):
        return batch["image"]


@pytest.mark.parametrize("attack", [Unplanned(), Thrifty()])
def test_the_bar_is_full_at_the_end_whatever_was_planned(attack):
    callback = protocol(attacks={"other": attack})
    progress, shares = NetworkProgress(callback), []

    class Watch(Callback):
        def on_test_batch_end(self, *arguments):
            shares.append(progress._bar.tasks[0].percentage)

    trained = trainer(callback, progress, Watch())
    for _ in range(2):  # a run may be measured in several pieces
        trained.test(Classification(TinyClassifier()), Arrays(2, images=5), verbose=False)
        assert shares == pytest.approx([100 / 3, 200 / 3, 100])
        shares.clear()


def test_the_bar_is_full_at_the_end_though_other_jobs_take_most():
    callback, data, shares = protocol(), Arrays(1, images=6), []
    progress = NetworkProgress(callback)
    data.take = lambda index: index in (1, 3, 5)

    class Watch(Callback):
        def on_test_batch_end(self, *arguments):
            shares.append(progress._bar.tasks[0].percentage)

    trainer(callback, progress, Watch()).test(Classification(TinyClassifier()), data, verbose=False)
    assert shares == pytest.approx([100 / 3, 200 / 3, 100])


class Deaf(TinyClassifier):
    """Calls no hooks, as what is compiled may."""

    def register_forward_hook(self, hook):
        return super().register_forward_hook(lambda *arguments: None)


def test_the_bar_is_full_where_no_call_is_heard():
    callback = protocol(noise_levels=[], attacks={}, attacker_sees=[])
    progress = NetworkProgress(callback)
    trainer(callback, progress).test(Classification(Deaf()), Arrays(2, images=3), verbose=False)
    assert progress._bar.tasks[0].percentage == 100


def test_a_file_gets_a_line_a_minute(monkeypatch):
    """The clock goes on by 25 s whenever it is asked."""
    clock, written = itertools.count(0, 25), io.StringIO()
    monkeypatch.setattr("dds.callbacks.progress.time.monotonic", lambda: next(clock))
    callback = protocol()
    progress = NetworkProgress(callback, Console(file=written, width=200))
    trainer(callback, progress).test(Classification(TinyClassifier()), Arrays(2, images=4), verbose=False)
    lines = written.getvalue().splitlines()
    assert len(lines) > 3
    done = [float(line.split(" of about 4 images measured after ")[0]) for line in lines]
    assert done == sorted(done)
    assert all("images a second" in line and "left; at work: " in line for line in lines)


def test_a_line_counts_calls_until_a_batch_has_told_how_many_there_are(monkeypatch):
    clock, written = itertools.count(0, 25), io.StringIO()
    monkeypatch.setattr("dds.callbacks.progress.time.monotonic", lambda: next(clock))
    callback = protocol(attacks={"other": Unplanned()})
    progress = NetworkProgress(callback, Console(file=written, width=200))
    trainer(callback, progress).test(Classification(TinyClassifier()), Arrays(2, images=4), verbose=False)
    lines = written.getvalue().splitlines()
    told = [line.split(" ", 1) for line in lines]
    first = [int(number) for number, rest in told if rest.startswith("network calls after ")]
    assert first == sorted(first)
    assert first[0] > 0
    assert all("for the first of 2 batches; at work: " in line for line in lines[: len(first)])
    assert all(" of about 4 images measured" in line for line in lines[len(first) :])
    assert len(first) < len(lines)
