"""How many threads compute on processors."""

import os
import time
from pathlib import Path

import torch

_SET_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_LOOK = 0.5  # seconds
_MUCH = 0.75  # of a core: that much is left to other work

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux says how much of its cores a container may use."""

CPU_TIMES = Path("/proc/stat")
"""Where it says what its cores have done so far."""


def choose_threads() -> str:
    """Have torch compute with as many threads as there are cores that nothing else keeps busy.

    Threads wait for each other by spinning: two beside one busy process take twice as long as one would, and
    beside three nine times (`python -m benchmarks.threads`).

    Returns:
        What was chosen, in a line; an empty one where the environment says how many there are.
    """
    if any(name in os.environ for name in _SET_BY):
        return ""
    cores, busy = usable_cores(), busy_cores()
    chosen = max(1, min(cores, (os.cpu_count() or 1) - int(busy + 1 - _MUCH)))
    torch.set_num_threads(chosen)
    return (
        f"Computing on the CPU with {chosen} of {cores} cores; other work keeps {busy:.1f} busy. "
        "OMP_NUM_THREADS sets another number, which rounds differently."
    )


def usable_cores() -> int:
    """Return how many cores this process may use, by its affinity and by its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no Linux, or no quota
        return cores


def busy_cores() -> float:
    """Return how many cores other processes keep busy, found by waiting for a moment; 0 if not known."""
    try:
        before = _idle_and_all()
        time.sleep(_LOOK)
        idle, every = (now - then for now, then in zip(_idle_and_all(), before, strict=True))
    except (OSError, ValueError):  # no Linux
        return 0.0
    return (os.cpu_count() or 1) * (1 - idle / every) if every else 0.0


def _idle_and_all() -> tuple[int, int]:
    """Return the time that cores were idle or waited for a disk, and all of it, in ticks."""
    name, *ticks = CPU_TIMES.read_text().splitlines()[0].split()
    if name != "cpu":
        raise ValueError(name)
    user, nice, system, idle, waiting, *others = map(int, ticks)
    return idle + waiting, user + nice + system + idle + waiting + sum(others[:3])
