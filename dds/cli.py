"""The command line behind `evaluate.py`; of `train.py` see `dds.training`."""

import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from lightning.pytorch import Trainer
from rich.console import Console

from dds.callbacks import AttackAndPurify
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.evaluation import make_console, make_trainer
from dds.protocol import Plan
from dds.results import (
    ResultsWriter,
    RunFolder,
    findings,
    notes,
    read_run,
    summary_tables,
    write_report,
)
from dds.results.division import matching
from dds.results.job import Job
from dds.results.loggers import Loggers, log_to
from dds.results.report.compared import read_runs
from dds.results.report.comparison import check_place, write_compared
from dds.results.report.ranking import rank, rows, to_csv
from dds.results.stopping import Stopped, stoppable
from dds.tasks import BaseTask

EVALUATION_OPTIONS = {
    "accelerator",
    "benchmark",
    "callbacks",
    "deterministic",
    "devices",
    "inference_mode",
    "num_nodes",
    "plugins",
    "precision",
    "profiler",
    "strategy",
}
"""What of Lightning's trainer matters to an evaluation."""

Arguments = list[str] | None
"""Command-line arguments; None: those of the process."""

CONFIGS = Path(__file__).parent.parent / "configs"


class _ConfigByName(ActionConfigFile):  # type: ignore[misc]
    """Reads a YAML given by its path, or by its bare name in `configs/`."""

    def __call__(self, parser: Any, cfg: Any, values: str, option: Any = None) -> None:
        super().__call__(parser, cfg, str(find_config(values)), option)


def find_config(name: str) -> Path:
    """Return a YAML file given by its path or by its name in `configs/`.

    Raises:
        InputError: If there is none; the message lists what there is.
    """
    for path in (Path(name).expanduser(), CONFIGS / name, CONFIGS / f"{name}.yaml"):
        if path.is_file():
            return path
    paths = (path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml"))
    shipped = sorted(str(path) for path in paths if path.parts[0] != "sweep")  # those are W&B's
    close = "".join(f" Did you mean {like}?" for like in get_close_matches(name, shipped, n=1))
    raise InputError(f"there is no config {name!r}; expected a path, or one of {', '.join(shipped)}.{close}")


def _plainly(command: Callable[[Arguments], None]) -> Callable[..., None]:
    """Print the errors that users can mend as one message without a traceback, and exit with 2."""

    @wraps(command)
    def run(arguments: Arguments = None) -> None:
        try:
            command(arguments)
        except Exception as error:
            cause = _input_error(error)
            if cause is None:
                raise
            print(f"error: {cause}", file=sys.stderr)
            sys.exit(2)

    return run


def _input_error(error: BaseException | None) -> InputError | None:
    """Find the user's error in what jsonargparse wraps around it."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


class _Parser(ArgumentParser):  # type: ignore[misc]
    """Says what is wrong without the names of all options, which would hide it."""

    def print_usage(self, file: Any = None) -> None:
        """Leave it to `--help`."""


def _parser(description: str) -> ArgumentParser:
    parser = _Parser(description=description)
    parser.add_argument(
        "--config",
        action=_ConfigByName,
        help="A YAML file: a path, or a name in configs/. Repeatable; later wins.",
    )
    return parser


@_plainly
def evaluate(arguments: Arguments) -> None:
    """Evaluate a task under attacks and purification, and leave `runs/<experiment>/<name>/`.

    `report` as the first argument draws the figures and pages of runs anew, `compare` lays runs over each
    other.
    """
    given = sys.argv[1:] if arguments is None else arguments
    command = {"report": _report, "compare": _compare}.get(next(iter(given), ""))
    if command is not None:
        return command(given[1:])
    with stoppable():
        parser = _evaluation_parser()
        config = parser.parse_args(arguments)
        config.experiment = config.experiment or _stem(config)
        built = parser.instantiate(config)
        if config.plan:
            conditions = built.protocol.plan.conditions
            chosen = matching([condition.key for condition in conditions], config.conditions)
            built.protocol.plan = Plan.of(condition for condition in conditions if condition.key in chosen)
            make_console().print(built.protocol.describe())
        else:
            _run(parser, config, built)


def _report(arguments: list[str]) -> None:
    """Draw the figures and the page of runs anew, from their folders alone."""
    parser = _runs_parser(
        "report",
        "Draw figures/ and report.html of runs anew, from what their folders hold. Of an interrupted run, as "
        "far as it got. Example: evaluate.py report runs/seg_scenes/*",
    )
    for path in parser.parse_args(arguments).runs:
        folder = RunFolder(path)
        print(f"Report: {write_report(folder, read_run(folder))}")


def _compare(arguments: list[str]) -> None:
    """Lay runs over each other on one page."""
    parser = _runs_parser(
        "compare",
        "Lay runs over each other on one page: of other tasks, models, purifiers, seeds. Example: "
        "evaluate.py compare runs/*_scenes/study",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("comparison.html"),
        help="The page; its figures go to a folder of its name.",
    )
    parser.add_argument(
        "--show",
        type=Literal["page", "json", "csv"],
        default="page",
        help="What is printed: where the page is; or the ranking alone, as JSON or CSV.",
    )
    given = parser.parse_args(arguments)
    check_place(given.out)
    runs = read_runs([RunFolder(path) for path in given.runs])
    write_compared(runs, given.out)
    if given.show == "page":
        print(f"Comparison: {given.out}")
    else:
        print(json.dumps(rows(rank(runs))) if given.show == "json" else to_csv(rank(runs)).strip())


def _runs_parser(command: str, description: str) -> ArgumentParser:
    parser = _Parser(prog=f"evaluate.py {command}", description=description)
    parser.add_argument("runs", type=Path, nargs="+", help="Run folders, runs/<experiment>/<name>.")
    return parser


def _run(parser: ArgumentParser, config: Namespace, built: Namespace) -> None:
    """Do this job's part of a run; the job after which nothing is left finishes it."""
    console = make_console(quiet=config.show != "table")
    job = Job(built.task, built.data, built.protocol, config.share, config.conditions, console)
    text = job.with_header(parser.dump(_of_all_jobs(config), skip_none=False))
    writer = ResultsWriter(_run_folder(config), text, _may_go_on(config))
    trainer = make_trainer(built.protocol, writer, console, **built.trainer.as_dict())
    try:
        job.measure(trainer, writer)
        if trainer.is_global_zero and job.merge(writer.folder):
            _finish(config, built.logger, job.summarise(writer.folder), writer.folder, console)
    except Stopped as stopped:
        again = "" if writer.go_on and config.name else f" and --resume --name={writer.folder.path.name}"
        stopped.add_note(f"What was measured is kept; go on by the same command{again}.")
        raise


def _evaluation_parser() -> ArgumentParser:
    parser = _parser(
        "Measure what a purifier buys and costs. Example: evaluate.py --config seg_scenes.yaml. Of finished "
        "runs, evaluate.py report runs/… draws the pages anew, evaluate.py compare runs/… one page of all."
    )
    parser.add_subclass_arguments(BaseTask, "task", required=True, help="The task and its network.")
    parser.add_subclass_arguments(BaseDataModule, "data", required=True, help="The images.")
    parser.add_class_arguments(AttackAndPurify, "protocol")
    skipped = set(signature(Trainer).parameters) - EVALUATION_OPTIONS
    parser.add_class_arguments(Trainer, "trainer", skip=skipped, instantiate=False, sub_configs=True)
    parser.set_defaults({"trainer.inference_mode": False})  # attacks need gradients
    add = parser.add_argument
    add("--runs", type=Path, default=Path("runs"), help="Folder of all runs.")
    add("--experiment", type=str | None, help="Folder of like runs; default: the config's name.")
    add(
        "--name",
        type=str | None,
        help="Name of the run; default: the time, or with --resume the newest.",
    )
    add(
        "--resume",
        action="store_true",
        help="Go on with an interrupted run, keep what it measured; with --name, start it if there is none.",
    )
    add("--share", type=str | None, help="Measure one of several shares of the run's images, e.g. 2/5.")
    add(
        "--conditions",
        type=str | None,
        help="Measure only some of the run's conditions, e.g. 'clean/*,pgd/*'; other jobs add the others.",
    )
    add(
        "--logger",
        type=Loggers,
        default=True,
        help="Dashboards: true, Weights & Biases (offline without a key); false, none; or one or a list of "
        "Lightning's loggers, by class_path.",
    )
    add("--project", default="dds", help="Weights & Biases project, with --logger=true.")
    add(
        "--show",
        type=Literal["table", "path", "json"],
        default="table",
        help="What is printed: progress and tables; the run's folder alone; or summary.json alone.",
    )
    add("--plan", action="store_true", help="Show the conditions and their cost, and stop.")
    return parser


def _run_folder(config: Namespace) -> RunFolder:
    experiment = config.runs / config.experiment
    if (config.share or config.conditions) and not config.name:
        raise InputError("--share and --conditions need --name: of the run that all jobs add to.")
    if config.name or not config.resume:
        return RunFolder(experiment / (config.name or _new_name()))
    runs = sorted(experiment.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise InputError(f"there is no run in {experiment} to go on with. Leave --resume out.")
    return RunFolder(runs[-1].parent)


def _new_name() -> str:
    """Return the time and, in a sweep, the id of the run: two agents may start in the same second."""
    of_sweep = [os.environ["WANDB_RUN_ID"]] if "WANDB_SWEEP_ID" in os.environ else []
    return "_".join([f"{datetime.now():%Y-%m-%d_%H-%M-%S}", *of_sweep])


def _may_go_on(config: Namespace) -> bool:
    """Tell whether there may be a run of this name already; a part of one joins the others."""
    return bool(config.resume or config.share or config.conditions)


def _of_all_jobs(config: Namespace) -> Namespace:
    """Leave out what concerns but one job of a run."""
    shared = config.clone()
    shared.resume, shared.share, shared.conditions = False, None, None
    return shared


def _finish(
    config: Namespace, logger: Loggers, summary: dict[str, Any], folder: RunFolder, console: Console
) -> None:
    """Turn what was measured into everything that people look at."""
    console.print(*summary_tables(summary, summary["utility"], console.width))
    for kind, lines in (("Note", notes(summary)), ("Sanity", findings(summary))):
        for line in lines:
            console.print(f"{kind}: {line}", highlight=False)
    report = write_report(folder, summary)
    console.print(f"Report: {report}", soft_wrap=True)
    console.print(f"Results: {folder.path}", soft_wrap=True)
    if config.show != "table":
        print(json.dumps(summary) if config.show == "json" else folder.path)
    for line in log_to(logger, folder, summary, config.project):
        console.print(line, highlight=False, soft_wrap=True)


def _stem(config: Namespace) -> str:
    return "+".join(Path(str(path)).stem for path in config.config or ["run"])
