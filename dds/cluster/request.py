"""What `evaluate.py submit` is asked for, beside the evaluation itself."""

import shutil
from argparse import Action
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from jsonargparse import ArgumentParser

from dds.command_line import Parser, program
from dds.errors import InputError

_PURPOSE = (
    "Start jobs that measure one run together, on a SLURM cluster or as processes of this machine. Each "
    "takes images as it goes until none is left (--share=auto); the last one writes the report. A job whose "
    "time is over, or that is preempted, is requeued and goes on. All other options are those of "
    f"{program()}, or behind the word certify those of {program('certify')}. Examples: {program('submit')} "
    "--config seg_scenes.yaml --jobs=8 --slurm.partition=gpu --slurm.gpus_per_node=1 --slurm.time=240; "
    f"{program('submit')} certify --config seg_scenes.yaml --jobs=2 --cluster=local."
)

_NOT_ASKED = {"command", "folder", "map_count", "nodes", "ntasks_per_node", "num_gpus"}
"""What of submitit's settings nobody sets: a job is one process on one machine."""

_HELP = {
    "time": "Minutes after which a job is requeued, to go on with what is left",
    "job_name": "Name of the jobs",
    "array_parallelism": "How many of the jobs may run at a time",
    "signal_delay_s": "Seconds before the end of its time at which a job is told to stop",
    "srun_args": "More arguments of srun, a list",
    "stderr_to_stdout": "Whether errors go to the same log",
    "use_srun": "Whether a job is a step of srun",
}

_OWN = ("--jobs", "--cluster", "--slurm")


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        jobs: How many.
        cluster: What starts them: `slurm`, `local` or `debug`.
        slurm: Settings of submitit's SLURM executor that are not None.
        requeues: How often a job of SLURM may go on after its time is over.
    """

    jobs: int
    cluster: str
    slurm: dict[str, Any]
    requeues: int


def read_request(arguments: list[str]) -> tuple[Request, list[str]]:
    """Read the options of `submit`, and return those of the evaluation as they are.

    Args:
        arguments: All that follows the word `submit`.

    Raises:
        InputError: If submitit is not installed, or there is no such cluster here.
    """
    own, command = _divide(arguments)
    given = _parser().parse_args(own)
    if given.jobs < 1:
        raise InputError(f"--jobs={given.jobs}; expected how many jobs are to share the run, 1 or more.")
    slurm = {name: value for name, value in given.slurm.items() if value is not None}
    requeues = slurm.pop("max_num_timeout")
    return Request(given.jobs, _choose(given.cluster, _named(own)), slurm, requeues), command


def _parser() -> ArgumentParser:
    try:
        from submitit.slurm.slurm import _make_sbatch_string as settings
    except ImportError as error:
        raise InputError("Jobs are started by submitit. Run: pip install 'dds[cluster]'") from error
    parser = Parser(
        prog=program("submit"),
        usage="%(prog)s --config NAME --jobs N [--setting=value …]",
        description=_PURPOSE,
    )
    parser.add_argument("--jobs", type=int, required=True, help="How many jobs share the run's images.")
    parser.add_argument(
        "--cluster",
        type=Literal["auto", "slurm", "local", "debug"],
        default="auto",
        help="What starts them: slurm; local, processes of this machine, which are waited for and share its "
        "GPUs; debug, this process itself, one job after another, with a debugger at an error; auto, slurm "
        "where there is sbatch, else local. Only slurm heeds --slurm.",
    )
    parser.add_function_arguments(settings, "slurm", skip=_NOT_ASKED)
    parser.groups["slurm"].title = "SLURM's options, by submitit; --slurm=FILE reads them from a YAML"
    parser.add_argument(
        "--slurm.max_num_timeout",
        type=int,
        default=100,
        help="How often a job is requeued after its time is over; preemptions do not count.",
    )
    parser.set_defaults({"slurm.time": 240, "slurm.job_name": "dds"})
    for action in parser._actions:
        _explain(action)
    return parser


def _explain(action: Action) -> None:
    """Say of an option of sbatch that it is one, where submitit says nothing."""
    group, _, name = action.dest.partition(".")
    if group == "slurm" and name in _HELP:
        action.help = _HELP[name]
    elif group == "slurm" and name and not (action.help or "").strip("% "):
        action.help = f"As sbatch's --{name.replace('_', '-')}"


def _divide(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Tell the options of `submit`, with their values, from those of the evaluation."""
    own: list[str] = []
    command: list[str] = []
    left = iter(arguments)
    for argument in left:
        name, has_value, _ = argument.partition("=")
        if name in ("--help", "-h"):
            own.append(argument)
        elif name.rstrip("+").partition(".")[0] in _OWN:
            own += [argument] if has_value else [argument, *([value] if (value := next(left, None)) else [])]
        else:
            command.append(argument)
    return own, command


def _named(own: list[str]) -> str | None:
    """Return the first option that only SLURM heeds."""
    return next((argument for argument in own if argument.startswith("--slurm")), None)


def _choose(cluster: str, of_slurm: str | None) -> str:
    """Find out what starts jobs here."""
    is_here = all(map(shutil.which, ("sbatch", "srun")))
    wants = "--cluster=slurm" if cluster == "slurm" else of_slurm if cluster == "auto" else None
    if wants and not is_here:
        raise InputError(
            f"{wants} needs SLURM's sbatch and srun, which are not here. Start this where they are, or give "
            "--cluster=local to start the jobs on this machine."
        )
    if cluster == "auto":
        return "slurm" if is_here else "local"
    return cluster
