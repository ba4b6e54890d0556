"""The commands behind `evaluate.py` and `dds`; of `train.py` see `dds.training`."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import torch
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from dds.callbacks import CertificateDraws, NetworkProgress
from dds.callbacks.look_ahead import count_known
from dds.certificates import Certificate
from dds.cluster import check_command, read_request, submit
from dds.command_line import Parser, plainly, program, stem
from dds.command_line.nearest import did_you_mean
from dds.errors import InputError
from dds.evaluation import make_console, make_trainer
from dds.folders import purify
from dds.loggers import Live
from dds.options import evaluation_parser, may_go_on, run_folder
from dds.protocol import Plan
from dds.reports import summary_tables, write_report
from dds.reports.certified import certificate_lines, certificate_table
from dds.reports.compared import read_runs
from dds.reports.comparison import check_place, write_compared
from dds.reports.ranking import rank, rows, to_csv
from dds.results import findings, notes, read_run
from dds.results.bracket import check_bracket
from dds.results.summary import write_summary
from dds.runs import ResultsWriter, RunFolder
from dds.runs.attacked import AttackedFiles, write_manifest
from dds.runs.division import AUTO, matching
from dds.runs.job import Job
from dds.runs.places import find_folders, named_by_url
from dds.runs.stopping import Stopped, stoppable
from dds.storage import only_here
from dds.store import KnownCrafts, open_store
from dds.trainer import share_cores, warn_of_lone_processes

Check = Callable[[Namespace], None]

Prepared = tuple[ArgumentParser, Namespace, Namespace]
"""Parser, settings, and what was built of them."""


@plainly
def evaluate(arguments: list[str]) -> None:
    """Evaluate a task under attacks and purification, and leave `runs/<experiment>/<name>/`.

    `certify` as the first argument certifies the purifier instead of attacking it, `submit` starts jobs that
    share the work, `purify` writes the images of a folder purified, `report` draws the figures and pages of
    runs anew, `compare` lays runs over each other.
    """
    carry_out(arguments)


def carry_out(arguments: list[str]) -> None:
    """Do what a command line says; errors arrive as they are."""
    with named_by_url():
        if _leads(arguments):
            return _command(arguments[0])(arguments[1:])
        with stoppable():
            return _plan_or_run(*_prepare(arguments))


def _prepare(arguments: list[str], check: Check = lambda config: None) -> Prepared:
    """Read, check and build what is to be evaluated."""
    parser = evaluation_parser()
    config = parser.parse_args(arguments)
    check(config)
    config.experiment = config.experiment or stem(config)
    return parser, config, _build(parser, config)


def _build(parser: ArgumentParser, config: Namespace) -> Namespace:
    if not config.plan:
        run_folder(config).check(claims=config.share == AUTO)
    torch.manual_seed(getattr(config.protocol, "seed", 0))  # of weights that are not loaded
    return parser.instantiate(config)


def _plan_or_run(parser: ArgumentParser, config: Namespace, built: Namespace) -> None:
    if (store := open_store(config.store, config.store_gib)) is not None:
        built.protocol.known = KnownCrafts(store)
    if config.plan:
        conditions = built.protocol.plan.conditions
        chosen = matching([condition.key for condition in conditions], config.conditions)
        built.protocol.plan = Plan.of(condition for condition in conditions if condition.key in chosen)
        _show_plan(built, config.show)
    else:
        _run(parser, config, built)


def _show_plan(built: Namespace, show: str) -> None:
    task, protocol, known = built.task, built.protocol, None
    with suppress(InputError):  # a plan needs no data
        known = count_known(protocol, task, built.data) if protocol.known is not None else None
    if show == "json":
        print(json.dumps(protocol.costs(known)))
    else:
        make_console().print(protocol.describe(task.doubts, known))


def _leads(arguments: list[str]) -> bool:
    """Tell whether the first word is no option, nor a YAML before which --config was forgotten."""
    word = arguments[0] if arguments else "-"
    return not word.startswith("-") and Path(word).suffix not in (".yaml", ".yml")


def _command(name: str) -> Callable[[list[str]], None]:
    """Return what else than to evaluate is done, by its name."""
    if name not in COMMANDS:
        close = did_you_mean(name, COMMANDS)
        raise InputError(f"there is no command {name!r}; expected {', '.join(COMMANDS)} or options.{close}")
    return COMMANDS[name]


def _certify(arguments: list[str]) -> None:
    """Certify the purifier of any evaluation's YAML, or of a run that there is, at its noise levels."""
    with stoppable():
        _plan_or_run(*_prepare_certificate(arguments))


def _prepare_certificate(arguments: list[str], check: Check = lambda config: None) -> Prepared:
    """Read, check and build what is to be certified."""
    if _leads(arguments):
        folder, *others = find_folders(arguments[0])  # stays until its configuration is read
        if others:
            raise InputError(f"{arguments[0]} fits {1 + len(others)} runs; expected one to certify.")
        arguments = _of_run(folder) + arguments[1:]
    parser = evaluation_parser(
        "certify",
        "Prove what the purifier guarantees within a radius, from noise draws on clean images. Examples: "
        f"{program('certify')} --config seg_scenes.yaml; {program('certify')} runs/seg_scenes/study, which "
        "certifies what that run evaluated, and goes on where it was interrupted.",
    )
    parser.add_class_arguments(Certificate, "certificate")
    config = parser.parse_args(arguments)
    check(config)
    config.experiment = config.experiment or f"{stem(config)}_certified"
    config.protocol.attacks = config.protocol.controls = None
    built = _build(parser, config)
    built.protocol = CertificateDraws(built.protocol, built.certificate, built.task)
    built.data = built.data.at_most(built.certificate.images)
    return parser, config, built


def _of_run(folder: RunFolder) -> list[str]:
    """Return options that certify what a run evaluated, in a run of the same name beside it.

    The noise that the run drew is not used again: an attack may have known it (`fixed_noise`).
    """
    if not folder.path.is_dir():
        raise InputError(f"there is no run {folder.place}; expected the folder of one, or options.")
    config = folder.read_config()
    if "trainer" not in config:
        raise InputError(f"{folder.place} was made from Python; certify it there, by dds.certify.")
    runs, experiment, name = folder.full_place.rsplit("/", 2)
    experiment = experiment if "certificate" in config else f"{experiment}_certified"
    where = [f"--runs={runs}", f"--experiment={experiment}", f"--name={name}"]
    return [f"--config={folder.config}", *where, "--resume"]


def _submit(arguments: list[str]) -> None:
    """Start jobs that share a run, once all is found to be in order."""
    request, command = read_request(arguments)
    with stoppable():
        folder, show = _run_for_jobs(command, request.jobs)
    folder = submit(request, carry_out, command, folder, make_console(quiet=show != "table"))
    if show == "path":
        print(folder.place)


def _run_for_jobs(command: list[str], jobs: int) -> tuple[RunFolder, str]:
    """Read and build what each of some jobs will; return the run's folder, and what is to be printed."""
    certifies = command[:1] == ["certify"]
    if _leads(command) and not certifies:
        raise InputError(f"submit {command[0]}: only evaluations and certify have jobs that share a run.")
    prepare = _prepare_certificate if certifies else _prepare
    parser, config, built = prepare(command[certifies:], check_command)
    folder = run_folder(config)
    folder.look()
    if folder.summary.is_file():
        raise InputError(f"{folder.place} is finished. Give another --name.")
    job = Job(built.task, built.data, built.protocol, AUTO, config.conditions)
    if jobs > len(job.grid.images):
        raise InputError(f"--jobs={jobs} for {len(job.grid.images)} images; expected one for each at most.")
    folder.check_same_work(_text(job, parser, config))
    return folder, config.show


def _report(arguments: list[str]) -> None:
    """Draw the figures and the page of runs anew, from their folders alone."""
    parser = _runs_parser(
        "report",
        "Draw figures/ and report.html of runs anew, from what their folders hold. Of an interrupted run, as "
        f"far as it got. Example: {program('report')} runs/seg_scenes/*",
    )
    for place in parser.parse_args(arguments).runs:
        for folder in find_folders(place):
            report = write_report(folder, read_run(folder))
            folder.publish()
            print(f"Report: {folder.show(report)}")


def _compare(arguments: list[str]) -> None:
    """Lay runs over each other on one page."""
    parser = _runs_parser(
        "compare",
        "Lay runs over each other on one page: of other tasks, models, purifiers, seeds. Example: "
        f"{program('compare')} runs/*_scenes/study",
    )
    parser.add_argument(
        "--out",
        type=str,
        default="comparison.html",
        help="The page; its figures go to a folder of its name.",
    )
    parser.add_argument(
        "--show",
        type=Literal["page", "json", "csv"],
        default="page",
        help="What is printed: where the page is; or the ranking alone, as JSON or CSV.",
    )
    given = parser.parse_args(arguments)
    check_place(out := only_here("out", given.out))
    folders = [folder for place in given.runs for folder in find_folders(place)]  # stay until the end
    runs = read_runs(folders)
    write_compared(runs, out, make_console(quiet=given.show != "page"))
    if given.show == "page":
        print(f"Comparison: {out}")
    else:
        print(json.dumps(rows(rank(runs))) if given.show == "json" else to_csv(rank(runs)).strip())


def _runs_parser(command: str, description: str) -> ArgumentParser:
    parser = Parser(prog=program(command), description=description)
    parser.add_argument("runs", type=str, nargs="+", help="Run folders or URLs, runs/<experiment>/<name>.")
    return parser


def _run(parser: ArgumentParser, config: Namespace, built: Namespace) -> None:
    """Do this job's part of a run; the job after which nothing is left finishes it."""
    console = make_console(quiet=config.show != "table")
    job = Job(built.task, built.data, built.protocol, config.share, config.conditions, console)
    writer = ResultsWriter(run_folder(config), _text(job, parser, config), may_go_on(config))
    progress = NetworkProgress(built.protocol, console)
    live = Live(built.logger, config.project, job, writer, progress)
    saving = [AttackedFiles(built.protocol, writer)] if config.save_attacked else []
    callbacks = [built.protocol, *saving, live, writer, progress]
    trainer = make_trainer(writer.folder, *callbacks, **built.trainer.as_dict())
    share_cores(trainer, partial(console.print, highlight=False))
    if not (config.share or config.conditions):
        warn_of_lone_processes(trainer)
    try:
        job.measure(trainer, writer)
        if trainer.is_global_zero:
            if (known := built.protocol.known) is not None and known.found:
                console.print(known.describe(), soft_wrap=True)
            summary = None
            if job.merge(writer.folder):
                summary = write_summary(job, writer.folder, built.get("certificate"))
                _finish(config, summary, writer.folder, console)
                if config.save_attacked:
                    manifest = writer.folder.show(write_manifest(job, writer.folder))
                    console.print(f"Attacked images: {manifest}", soft_wrap=True)
            for line in live.end(summary):
                console.print(line, highlight=False, soft_wrap=True)
            writer.folder.publish()
            if summary is not None and "certificates" in summary:
                check_bracket(summary["certificates"])
    except Stopped as stopped:
        again = (
            "" if writer.go_on and config.name else f" and --resume --name={quote(writer.folder.path.name)}"
        )
        stopped.add_note(f"What was measured is kept; go on by the same command{again}.")
        raise
    finally:
        live.stop()
        writer.folder.close()


def _text(job: Job, parser: ArgumentParser, config: Namespace) -> str:
    """Write down the configuration of a run, without what concerns but one of its jobs."""
    shared = config.clone()
    shared.resume, shared.share, shared.conditions = False, None, None
    return job.with_header(parser.dump(shared, skip_none=False))


def _finish(config: Namespace, summary: dict[str, Any], folder: RunFolder, console: Console) -> None:
    """Turn what was measured into everything that people look at."""
    report = write_report(folder, summary)  # whatever may be wrong with the terminal
    console.print(*summary_tables(summary, summary["utility"], console.width))
    for kind, lines in (("Note", notes(summary)), ("Sanity", findings(summary))):
        for line in lines:
            console.print(f"{kind}: {line}", highlight=False)
    if "certificates" in summary:
        console.print(certificate_table(summary["certificates"]))
        for line in certificate_lines(summary["certificates"]):
            console.print(line, highlight=False)
    console.print(f"Report: {folder.show(report)}", soft_wrap=True)
    console.print(f"Results: {folder.place}", soft_wrap=True)
    if config.show != "table":
        print(json.dumps(summary) if config.show == "json" else folder.place)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "certify": _certify,
    "submit": _submit,
    "purify": purify,
    "report": _report,
    "compare": _compare,
}
"""What else than to evaluate is done, by its name."""
