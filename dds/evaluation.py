"""An evaluation from Python, without a YAML."""

import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from lightning.pytorch import Callback, Trainer
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dds.attacks import Attack
from dds.attacks.objectives.base import Objective
from dds.callbacks import AttackAndPurify, CertificateDraws, NetworkProgress
from dds.certificates import Certificate
from dds.controls import Control
from dds.data import BaseDataModule, GivenData, GivenRetrieval, GivenTable
from dds.data.hub_dataset import is_table
from dds.errors import InputError
from dds.loggers import Live, Loggers
from dds.models.as_found import as_found
from dds.numbers import plain
from dds.purifiers import Purifier
from dds.reports import write_report
from dds.results import Results
from dds.results.bracket import check_bracket
from dds.results.summary import write_summary
from dds.runs import ResultsWriter, RunFolder
from dds.runs.job import Job
from dds.runs.places import named_by_url, open_folder
from dds.runs.stopping import stoppable
from dds.store import KnownCrafts, open_store
from dds.streams import never_fail_to_print
from dds.tasks import BaseTask
from dds.trainer import build_trainer, check_precision

logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # its advertisements
logging.getLogger("lightning.pytorch.accelerators.cuda").setLevel(logging.WARNING)  # which GPU it takes
warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning's own, against newer torch

_ARGUMENTS = {
    r"\bcertificate\.(?=\w+)": "",
    r"--resume\b": "resume=True",
    r"--(name|runs)\b": "folder=",
    r"\btrainer\.(?=\w+=)": "",
}
"""What stands here for options of `evaluate.py`."""


Given = DataLoader[Any] | Dataset[Any]


def evaluate(
    task: BaseTask,
    data: BaseDataModule | Given | tuple[Given, Given],
    protocol: AttackAndPurify,
    folder: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    logger: Loggers = False,
    project: str = "dds",
    store: str | bool = False,
    **trainer: Any,
) -> Results:
    """Evaluate a task under attacks and purification, as `evaluate.py` does.

    Args:
        task: The task with its network, e.g. `dds.tasks.Classification(network, mean=…, std=…)`.
        data: A data module of `dds.data`; or a data set or `DataLoader`, see `dds.data.GivenData`; or a
            `datasets.Dataset`, see `dds.data.GivenTable`; for retrieval two of them, `(queries, gallery)`,
            see `dds.data.GivenRetrieval`.
        protocol: Purifier, noise levels, attacks.
        folder: The run's folder, or an URL such as `s3://bucket/runs/study`, which must be empty; default:
            `runs/<task>/<time>`.
        resume: Go on with what the folder holds; start if it is empty.
        quiet: Show no plan and no progress.
        logger: Dashboards: true, Weights & Biases (offline without a key); or one or a list of Lightning's
            loggers.
        project: Weights & Biases project, with `logger=True`.
        store: Where attacked images are kept and looked for: a folder, or an URL of object storage; true, the
            folder in the user's cache. What decides an attack must be in attributes of task, purifiers and
            attacks, or in files of code; not in variables of modules that a program changes.
        **trainer: Options of Lightning's `Trainer`, e.g. `accelerator="cpu"`, `precision="bf16-mixed"`.
            There is one process; `evaluate.py` runs on several.

    Returns:
        The results; everything is in the folder, too.

    Raises:
        InputError: Before any long work starts, if something does not fit together.
    """
    try:
        _check_call(task)
        if (kept := open_store(store)) is not None:
            protocol.known = KnownCrafts(kept)
        with named_by_url():
            return _evaluate(task, data, protocol, folder, resume, quiet, logger, project, trainer)
    except InputError as error:
        error.args = (_as_python(str(error)),)
        raise


def certify(
    task: BaseTask,
    data: BaseDataModule | Given | tuple[Given, Given],
    protocol: AttackAndPurify,
    certificate: Certificate | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    logger: Loggers = False,
    project: str = "dds",
    **trainer: Any,
) -> Results:
    """Certify the purifier of an evaluation at its noise levels, as `evaluate.py certify` does.

    Certificates come from noise draws on the clean images; attacks, where wanted, show how tight they are.

    Args:
        task: As for `evaluate`, like all that follows but `certificate`.
        data: The images.
        protocol: Its purifier and defences are certified; attacks and controls count for nothing.
        certificate: Radii, alpha, kinds, how many images and draws, and whether to attack; default: those of
            `dds.certificates.Certificate()`, which take few images.
        folder: The run's folder.
        resume: Go on with what the folder holds.
        quiet: Show no plan and no progress.
        logger: Dashboards.
        project: Weights & Biases project.
        **trainer: Options of Lightning's `Trainer`.

    Returns:
        The results; `results.certificates` has a row for each image, score, kind, level and radius, and
        `results.summary["certificates"]` what holds of all images.

    Raises:
        InputError: If nothing can be certified, saying why, or as `evaluate`; or, when everything is written,
            if an attack got below a certificate.
    """
    try:
        _check_call(task)
        asked = certificate or Certificate()
        drawn = CertificateDraws(protocol, asked, task)
        fewer = _module(task, data).at_most(asked.images)
        with named_by_url():
            return _evaluate(task, fewer, drawn, folder, resume, quiet, logger, project, trainer, asked)
    except InputError as error:
        error.args = (_as_python(str(error)),)
        raise


def _check_call(task: Any) -> None:
    if not isinstance(task, BaseTask):
        raise InputError(
            f"task is a {type(task).__name__}; expected one of dds.tasks around your network, such as "
            "dds.tasks.Classification(network)."
        )
    if torch.is_inference_mode_enabled():
        raise InputError(
            "evaluate is called in torch.inference_mode, where attacks get no gradients. Leave it."
        )


def _evaluate(
    task: BaseTask,
    data: BaseDataModule | Given | tuple[Given, Given],
    protocol: AttackAndPurify,
    folder: str | Path | None,
    resume: bool,
    quiet: bool,
    logger: Loggers,
    project: str,
    trainer: Mapping[str, Any],
    certificate: Certificate | None = None,
) -> Results:
    module = _module(task, data)
    place = folder or Path("runs", type(task).__name__, f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
    run = open_folder(place, numbered=folder is None)
    run.check()
    console = make_console(quiet)
    job = Job(task, module, protocol, console=console)
    config = job.with_header(_config(task, module, protocol, certificate, trainer))
    writer = ResultsWriter(run, config, resume)
    progress = NetworkProgress(protocol, console)
    live = Live(logger, project, job, writer, progress)
    made = make_trainer(writer.folder, protocol, live, writer, progress, **{"devices": 1, **trainer})
    if made.world_size > 1:
        raise InputError(f"{made.world_size} processes; from Python there is one. Use dds evaluate for more.")
    try:
        lent = (*protocol.defences.purifiers, *protocol.controls.values(), *protocol.surrogates.values())
        with stoppable(), as_found(task, *lent):
            job.measure(made, writer)
        job.merge(writer.folder)
        summary = write_summary(job, writer.folder, certificate)
        write_report(writer.folder, summary)
        for line in live.end(summary):
            console.print(line, highlight=False, soft_wrap=True)
        writer.folder.publish()
        if certificate is not None:
            check_bracket(summary["certificates"])
    finally:
        live.stop()
        writer.folder.close()
    return Results(writer.folder.path, summary, writer.folder)


def _as_python(message: str) -> str:
    """Name options of the command line by the arguments that stand for them here."""
    for option, argument in _ARGUMENTS.items():
        message = re.sub(option, argument, message)
    return message


def _module(task: BaseTask, data: BaseDataModule | Given | tuple[Given, Given]) -> BaseDataModule:
    return data if isinstance(data, BaseDataModule) else _given(data, task.target)


def _given(data: Any, target: str) -> BaseDataModule:
    if isinstance(data, dict):
        raise InputError(f"data holds the splits {', '.join(map(str, data))}; give one of them.")
    if target != "relevance":
        return GivenTable(data, cast(Any, target)) if is_table(data) else GivenData(data, target)
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise InputError(
            f"data is a {type(data).__name__}; retrieval needs two data sets, (queries, gallery): what is "
            "searched with, and what is searched."
        )
    return GivenRetrieval(*data)


def make_console(quiet: bool = False) -> Console:
    """Return where an evaluation speaks: the terminal; in a file or a pipe, lines of 100 characters.

    Args:
        quiet: Whether it says nothing at all.
    """
    never_fail_to_print(sys.stdout)
    # neither [brackets] nor :colons: of a path mean anything
    return Console(quiet=quiet, width=None if sys.stdout.isatty() else 100, markup=False, emoji=False)


def make_trainer(folder: RunFolder, *callbacks: Callback, **options: Any) -> Trainer:
    """Return the trainer of an evaluation.

    Args:
        folder: The run's folder.
        *callbacks: What is called, in this order, after the user's own.
        **options: Of Lightning's `Trainer`.

    Raises:
        InputError: If the trainer refuses some of them, or the precision is too low for attacks.
    """
    check_precision(options.get("precision"))
    own = options.pop("callbacks", None) or []
    ours: dict[str, Any] = {
        "inference_mode": False,  # attacks need gradients
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder.path,  # under SLURM it looks for checkpoints to load there
    }
    return build_trainer(**{**ours, **options, "callbacks": [*own, *callbacks]})


def _config(
    task: BaseTask,
    data: BaseDataModule,
    protocol: AttackAndPurify,
    certificate: Certificate | None,
    trainer: Mapping[str, Any],
) -> str:
    """Describe an evaluation as a YAML would, as far as objects still know what they were made of."""
    defences = protocol.defences
    settings = {
        "purifier": protocol.purifier,
        "noise_levels": [defence.level.t for defence in defences.all if defence.level],
        "defences": defences.named,
        **{
            name: getattr(protocol, name)
            for name in ("attacks", "controls", "draws", "compile", "attack_precision")
        },
        "seed": protocol.seed,
        "conditions": [condition.key for condition in protocol.plan.conditions],
    }
    parts = {
        "task": _settings(task),
        "data": {**_settings(data), "class_path": _path(data.source)},
        "protocol": _settings(settings),
        **({"certificate": _settings(vars(certificate))} if certificate else {}),
        "trainer": {"precision": trainer.get("precision")},
    }
    return yaml.safe_dump(parts, sort_keys=False)


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _settings(thing: Any) -> Any:
    """Describe an object by its class and those of its arguments that it keeps; a network by its class."""
    thing = plain(thing.flatten() if isinstance(thing, Tensor) else thing)
    if isinstance(thing, bool | int | float | str | None):
        return thing
    if isinstance(thing, Mapping):
        return {str(name): _settings(value) for name, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_settings(value) for value in thing]
    kind = type(thing)
    if not isinstance(thing, BaseTask | BaseDataModule | Purifier | Attack | Objective | Control):
        return _path(kind)
    names = [name for name in _arguments(kind) if hasattr(thing, name)]
    return {"class_path": _path(kind), "init_args": {name: _settings(getattr(thing, name)) for name in names}}


def _arguments(kind: type) -> Iterator[str]:
    """Name the arguments of a class, and those that it hands on to the classes it extends."""
    for owner in kind.__mro__:
        if "__init__" in vars(owner):
            parameters = signature(owner).parameters.values()
            yield from (one.name for one in parameters)
            if not any(one.kind is Parameter.VAR_KEYWORD for one in parameters):
                return
