"""How many threads compute on processors, and what they do while they wait."""

import os
from pathlib import Path

# Before torch is loaded: threads that wait by spinning take many times as long where anything else computes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_SET_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_OWN = 0.25  # of the load, at most, is this process's start

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux says how much of its cores a container may use."""


def choose_threads() -> str:
    """Have torch compute with as many threads as there are cores that nothing else keeps busy.

    Returns:
        What was chosen, in a line; an empty one where the environment says how many there are.
    """
    if any(name in os.environ for name in _SET_BY):
        return ""
    import torch  # after the environment is set

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
