"""The jobs themselves, by submitit."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from submitit import AutoExecutor, Job
from submitit.core.utils import FailedJobError
from submitit.helpers import environment_variables

from dds.cluster.request import Request
from dds.cluster.share import Share
from dds.errors import InputError
from dds.threads import usable_cores

_A_YEAR = 525_600
"""Minutes that local jobs may take."""


def start(
    request: Request, work: Callable[[list[str]], None], command: list[str], logs: Path
) -> list[Job[None]]:
    """Start the jobs.

    Args:
        request: How many, and where.
        work: What carries a command line out.
        command: That of each job.
        logs: Folder of what submitit writes.

    Raises:
        InputError: If SLURM refuses them.
    """
    executor = AutoExecutor(logs, request.cluster, slurm_max_num_timeout=request.requeues)
    executor.update_parameters(timeout_min=_A_YEAR, **_of_slurm(request))
    devices = _devices(request)
    shares = [Share(work, command, devices[number % len(devices)]) for number in range(request.jobs)]
    try:
        with environment_variables(**_surroundings(request)), _errors_go_to(logs / "submitit.err"):
            return executor.submit_array(shares)
    except FailedJobError as error:
        *_, said = str(error).strip().splitlines() or [""]
        raise InputError(f"sbatch refuses the jobs: {said.removeprefix('sbatch: error: ')}") from error


def last_line_of(error: Exception) -> str:
    """Return what an error of a job says, of all that submitit tells about it."""
    _, is_raised, trace = str(error).rpartition("Traceback (most recent call last):\n")
    if not is_raised:
        return "it was killed, or could not begin"
    said = next((line for line in trace.splitlines() if line and not line.startswith(" ")), "")
    return said.removeprefix(f"{InputError.__module__}.{InputError.__name__}: ").rstrip(":")


def _of_slurm(request: Request) -> dict[str, Any]:
    more = {
        "requeue": True,
        **request.slurm.get("additional_parameters", {}),
    }  # where SLURM's default is not to
    return {
        f"slurm_{name}": value for name, value in {**request.slurm, "additional_parameters": more}.items()
    }


def _devices(request: Request) -> list[str | None]:
    """List the devices that the jobs get in turn."""
    if request.cluster != "local":
        return [None]
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(torch.cuda.device_count()))))
    return list(filter(None, seen.split(","))) or [None]


def _surroundings(request: Request) -> dict[str, str]:
    """Have jobs find modules where this process does, and local ones share the machine's cores."""
    found = filter(None, [sys.path[0], os.environ.get("PYTHONPATH")])
    variables = {"PYTHONPATH": os.pathsep.join(found), "PYTHONSAFEPATH": "1"}
    if request.cluster == "local" and "OMP_NUM_THREADS" not in os.environ:
        variables["OMP_NUM_THREADS"] = str(max(1, usable_cores() // request.jobs))
    return variables


@contextmanager
def _errors_go_to(path: Path) -> Iterator[None]:
    """Have what is started meanwhile write its errors to a file: submitit's own processes, at Ctrl-C."""
    kept = os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
