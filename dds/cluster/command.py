"""The command behind `evaluate.py submit`, once it is known what to submit."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from shlex import join, quote
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from dds.cluster.request import Request
from dds.command_line import program
from dds.errors import InputError
from dds.runs import RunFolder
from dds.runs.division import AUTO
from dds.runs.places import open_folder
from dds.runs.stopping import Stopped, stoppable
from dds.storage import below, is_url
from dds.whole_file import writing

if TYPE_CHECKING:
    from submitit import Job

_LOGS = ".jobs"
"""Folder beside the runs of an experiment; patterns of shells such as `runs/seg_scenes/*` pass it over."""


def check_command(config: Namespace) -> None:
    """Refuse what jobs that share a run cannot do.

    Args:
        config: What the command line of an evaluation says.

    Raises:
        InputError: Naming the option.
    """
    given = {"share": config.share, "plan": config.plan, "show=json": config.show == "json"}
    why = {
        "share": "Leave it out: each job takes images as it goes",
        "plan": "Leave submit out, and see the plan",
        "show=json": "Expected table or path: the summary is there when the jobs are done",
    }
    for name in (name for name, value in given.items() if value):
        raise InputError(f"--{name} with submit. {why[name]}.")
    for name in ("devices", "num_nodes"):
        if str(value := config.trainer[name]) not in ("auto", "1"):
            raise InputError(f"trainer.{name}={value} with submit; expected 1: each job has one device.")


def submit(
    request: Request,
    work: Callable[[list[str]], None],
    command: list[str],
    folder: RunFolder,
    console: Console,
) -> RunFolder:
    """Start jobs that share a run, and say where they are; wait for those of this machine.

    Args:
        request: How many, and where.
        work: What carries a command line out, in a job; a function of a module.
        command: The command line of an evaluation.
        folder: Of the run; of a numbered one, the first name is taken that is nobody's.
        console: Where it is said.

    Returns:
        The run's folder.

    Raises:
        InputError: If SLURM refuses the jobs, or the disk cannot be written.
    """
    from dds.cluster.engine import start  # only now: submitit may not be installed

    logs = _claim_logs(folder)
    folder = open_folder(below(folder.place.rpartition("/")[0], logs.name))
    command = [*command, f"--share={AUTO}", f"--name={logs.name}", "--trainer.devices=1"]

    def say(lines: Iterable[str]) -> None:
        for line in lines:
            console.print(line, highlight=False, soft_wrap=True)

    jobs = start(request, work, command, logs)
    say(_told(request, command, folder, logs, [job.job_id for job in jobs]))
    if request.cluster == "local":
        _wait(jobs, console, logs.name)
    if request.cluster != "slurm":
        folder.look()
        _check(jobs, folder)
        say(_results(folder))
    return folder


def _claim_logs(folder: RunFolder) -> Path:
    """Make the folder of the jobs' logs, named as the run is; of a run on object storage below runs/."""
    experiment = Path("runs", folder.path.parent.name) if is_url(folder.place) else folder.path.parent
    logs = RunFolder(experiment / _LOGS / folder.path.name, folder.numbered).claimed().path
    with writing(logs):
        logs.mkdir(parents=True, exist_ok=True)
    return logs


def _told(
    request: Request, command: list[str], folder: RunFolder, logs: Path, jobs: list[str]
) -> Iterator[str]:
    """Say what was started, and how to follow and to end it."""
    yield f"Run: {folder.place}"
    yield f"Each job: {_typed(command)}"
    yield f"Jobs: {', '.join(jobs)}"
    yield f"Logs: {logs}, of each job <job>_0_log.out and .err"
    if request.cluster == "slurm":
        array, _, _ = jobs[0].partition("_")
        yield f"Follow: squeue --jobs={array}; tail -f {quote(str(logs))}/{array}_*.out"
        yield f"So far: {program('report')} {quote(folder.place)}"
        yield f"End: scancel {array}; what was measured is kept, the same command with --name goes on."


def _typed(command: list[str]) -> str:
    """Return how a user would start a job."""
    certifies = command[:1] == ["certify"]
    return f"{program('certify' if certifies else 'evaluate')} {join(command[certifies:])}"


def _results(folder: RunFolder) -> list[str]:
    if folder.summary.is_file():
        return [f"Report: {folder.show(folder.report)}", f"Results: {folder.place}"]
    return ["These jobs are done; what other jobs are to measure of the run is not."]


def _wait(jobs: Sequence["Job[None]"], console: Console, name: str) -> None:
    """Wait for jobs of this machine, which end with this process."""
    from dds.cluster.waiting import wait_for

    with stoppable():
        try:
            wait_for(jobs, console)
        except Stopped as stopped:
            stopped.add_note(
                f"What was measured is kept; go on by the same command and --name={quote(name)}."
            )
            raise


def _check(jobs: Sequence["Job[None]"], folder: RunFolder) -> None:
    """Name the jobs that failed, and exit with 1 if there are any."""
    from dds.cluster.engine import last_line_of

    failed = [(job, error) for job in jobs if (error := job.exception())]
    for job, error in failed:
        print(f"Job {job.job_id} failed: {last_line_of(error)}. Log: {job.paths.stderr}", file=sys.stderr)
    if failed:
        left = (
            f"The others did its work: {folder.place}"
            if folder.summary.is_file()
            else f"What was measured is kept; go on by the same command and --name={quote(folder.path.name)}."
        )
        print(left, file=sys.stderr)
        sys.exit(1)
