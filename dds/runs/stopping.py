"""An orderly end when somebody asks for it: Ctrl-C, `kill`, a cluster that needs the machine."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer
from lightning_utilities.core.rank_zero import rank_zero_only

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

_stoppable: list[int] = []  # the process that is
_others: dict[int, Callable[..., Any]] = {}  # what the caller does when a signal comes
_held: list[bool] = []  # whether the work at hand must not be cut
_waiting: list[int] = []  # the signal that waits until it is whole


class Stopped(BaseException):
    """A signal asked this process to end; no error, so that nothing but the command line catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


@contextmanager
def stoppable() -> Iterator[None]:
    """End the process by `Stopped` when a signal comes, and say so: exit status 128 + signal (143, 130).

    The work at hand is dropped at once: it may take longer than the seconds that clusters grant. Processes
    other than the first leave the word to it and end with 0, else Lightning's watchdog kills the first one.
    A signal that the caller handles, as submitit does to requeue a job, is left to it.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _stoppable.append(os.getpid())
    for number, does in before.items():
        if callable(does) and does is not _stop and number != signal.SIGINT:  # Python handles that anyway
            _others[number] = does
    listen()
    try:
        yield
    except Stopped as stopped:
        if getattr(rank_zero_only, "rank", 0):
            sys.exit(0)
        print(f"Stopped by {stopped.signal.name}.", *getattr(stopped, "__notes__", []), file=sys.stderr)
        sys.exit(128 + stopped.signal)
    finally:
        for number in _audible():
            signal.signal(number, before[number])
        for state in (_stoppable, _others, _held, _waiting):
            state.clear()


def listen() -> None:
    """Where this process is stoppable, see to it, again after Lightning has put its own handlers in front.

    Those would finish the batch and end with status 0, wait for the other processes within the handler, and
    on SIGUSR1 under SLURM write a checkpoint.
    """
    if _stoppable:
        for number in _audible():
            signal.signal(number, _stop)


def hold() -> None:
    """Put a signal off until `release`, as work has begun that must not be cut; a second one ends it."""
    _held.append(True)


def is_asked() -> bool:
    """Tell whether a signal waits for `release`."""
    return bool(_waiting)


def release() -> None:
    """End the process now if a signal came since `hold`."""
    _held.clear()
    if _waiting:
        _end(_waiting.pop())


@contextmanager
def uncut() -> Iterator[None]:
    """Put a signal off until the end of the context, seconds of work that cannot be cut."""
    hold()
    try:
        yield
    finally:
        release()


def end_other_processes(trainer: Trainer) -> None:
    """End the processes that Lightning started from this one; they hold nothing that is not written."""
    launcher: Any = trainer.strategy.launcher
    if launcher is not None:
        launcher.kill(signal.SIGKILL)
        launcher.procs.clear()  # Lightning's watchdog ends this process, too, when it finds them dead


def _stop(number: int, frame: FrameType | None) -> None:
    if os.getpid() not in _stoppable:  # a copy that reads images and knows what to do
        raise KeyboardInterrupt
    if _held and not _waiting:
        _waiting.append(number)
        return
    _end(number)


def _end(number: int) -> None:
    if number not in _others:
        raise Stopped(number)
    _others[number](number, None)


def _audible() -> list[signal.Signals]:
    """Return the signals to listen to: none in a thread, and not what the caller has this process ignore."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
