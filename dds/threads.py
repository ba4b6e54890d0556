"""How many threads compute on processors."""

import os
from pathlib import Path

import torch

_SET_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_OWN = 0.25  # of the load, at most, is this process's start

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux says how much of its cores a container may use."""


def choose_threads() -> str:
    """Have torch compute with as many threads as there are cores that nothing else keeps busy.

    Threads wait for each other by spinning: two beside one busy process take twice as long as one would, and
    beside three nine times (`python -m benchmarks.threads`).

    Returns:
        What was chosen, in a line; an empty one where the environment says how many there are.
    """
    if any(name in os.environ for name in _SET_BY):
        return ""
    cores, busy = usable_cores(), os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    free = (os.cpu_count() or 1) - int(busy + 1 - _OWN)
    chosen = max(1, min(cores, free))
    torch.set_num_threads(chosen)
    return (
        f"Computing on the CPU with {chosen} of {cores} cores, as other work keeps about {busy:.1f} busy. "
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
