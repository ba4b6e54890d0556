"""Lightning's trainer: what it refuses, and what it would pass over, said as to a user."""

import os
import sys
from collections.abc import Callable
from inspect import signature
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator

from dds.errors import InputError
from dds.threads import choose_threads

_LAUNCHED = ("SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "WORLD_SIZE", "OMPI_COMM_WORLD_SIZE")
"""Variables by which launchers say how many processes they have started."""

_MACHINE = ("accelerator", "strategy", "devices", "num_nodes", "precision", "plugins", "profiler")
"""Options that a machine, its packages or its cluster may not go along with."""

_FINE = (None, 64, 32, 16, "64", "32", "16", "bf16", "64-true", "32-true", "16-mixed", "bf16-mixed")
"""Precisions in which images stay in float32 or better."""


def build_trainer(**options: Any) -> Trainer:
    """Build a trainer.

    Args:
        **options: Those of Lightning's `Trainer`.

    Raises:
        InputError: If it refuses some of them, as with a GPU that is not there.
    """
    try:
        return Trainer(**options)
    except InputError:
        raise
    except Exception as error:  # of many kinds: of types, of missing packages, of clusters
        reason = " ".join(str(error).split())
        raise InputError(f"the trainer refuses {_named(options)}: {reason}") from error


def check_precision(precision: Any) -> None:
    """Refuse a precision in which images lose what an attack adds to them.

    Raises:
        InputError: If it keeps images or networks in half precision throughout.
    """
    if precision not in _FINE:
        raise InputError(
            f"trainer.precision={precision} keeps images in half precision, in which attacks are lost; "
            "expected 32-true (the default), 64-true, bf16-mixed or 16-mixed."
        )


def share_cores(trainer: Trainer, tell: Callable[[str], object]) -> None:
    """Where one process works on the CPU alone, leave it the cores that are free, and say so in a line."""
    alone = trainer.world_size == 1 and isinstance(trainer.accelerator, CPUAccelerator)
    if alone and (said := choose_threads()):
        tell(said)


def warn_of_lone_processes(trainer: Trainer) -> None:
    """Say so if a launcher has started several processes, each of which would do all the work."""
    launched = {name: os.environ[name] for name in _LAUNCHED if os.environ.get(name, "1") not in ("", "1")}
    if launched and trainer.world_size == 1:
        said = ", ".join(f"{name}={count}" for name, count in launched.items())
        print(
            f"Warning: several processes were started ({said}), and each measures everything. To have them "
            "share it add --config trainer/ddp.yaml (or --trainer.strategy=ddp), or give each a --share.",
            file=sys.stderr,
        )


def _named(options: dict[str, Any]) -> str:
    """Write down which options of the machine differ from the defaults."""
    defaults = signature(Trainer).parameters
    given = {name: options[name] for name in _MACHINE if name in options}
    changed = [f"trainer.{name}={value}" for name, value in given.items() if value != defaults[name].default]
    return ", ".join(changed) or "to start here"
