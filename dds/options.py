"""The options of an evaluation, and the run that they name."""

import os
from datetime import datetime
from inspect import signature
from typing import Literal

from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import Trainer

from dds.callbacks import AttackAndPurify
from dds.command_line import make_parser, program
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.loggers import Loggers
from dds.runs import RunFolder
from dds.runs.places import newest_run, open_folder
from dds.storage import below
from dds.store import GIB
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

_CONFIG = "--config seg_scenes.yaml"

_PURPOSE = (
    f"Measure what a purifier buys and costs. Example: {program()} {_CONFIG}. {program('certify')} {_CONFIG} "
    f"proves what it guarantees, {program('purify')} {_CONFIG} --images=IN --out=OUT purifies a folder, "
    f"{program('submit')} {_CONFIG} --jobs=8 has jobs of a cluster share the work. Of finished runs, "
    f"{program('report')} runs/… draws the pages anew, {program('compare')} runs/… one page of all."
)


def evaluation_parser(command: str = "evaluate", description: str = _PURPOSE) -> ArgumentParser:
    """Return the parser of an evaluation, or of a command that takes its options and more."""
    parser = make_parser(description, command)
    parser.add_subclass_arguments(BaseTask, "task", required=True, help="The task and its network.")
    parser.add_subclass_arguments(BaseDataModule, "data", required=True, help="The images.")
    parser.add_class_arguments(AttackAndPurify, "protocol")
    skipped = set(signature(Trainer).parameters) - EVALUATION_OPTIONS
    parser.add_class_arguments(Trainer, "trainer", skip=skipped, instantiate=False, sub_configs=True)
    parser.groups["trainer"].title = "The machine, by Lightning's trainer"
    parser.set_defaults({"trainer.inference_mode": False})  # attacks need gradients
    add = parser.add_argument
    add("--runs", type=str, default="runs", help="Folder of all runs, or an URL: s3://bucket/runs.")
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
    add(
        "--share",
        type=str | None,
        help="Measure a part of the run's images: auto, those that no other job has claimed when this one "
        "gets to them, until none is left, so that jobs may join and leave; or 2/5, the second of five fixed "
        "shares.",
    )
    add(
        "--conditions",
        type=str | None,
        help="Measure only some of the run's conditions, e.g. 'clean/*,pgd/*'; other jobs add the others.",
    )
    add(
        "--save_attacked",
        type=bool,
        default=False,
        help="Write each attacked image as a PNG of 8 bits below attacked/ in the run's folder, with a "
        "manifest of eps, norm and hashes, for other tools to check.",
    )
    add(
        "--logger",
        type=Loggers,
        default=True,
        help="Dashboards: true, Weights & Biases (offline without a key); false, none; or one or a list of "
        "Lightning's loggers, by class_path.",
    )
    add(
        "--store",
        type=bool | str | None,
        help="Where attacked images are kept and looked for, so that none is made twice: a folder, or an URL "
        "of object storage; false, nowhere. Default: DDS_STORE, or a folder in the user's cache.",
    )
    add(
        "--store_gib",
        type=float,
        default=GIB,
        help="How many GiB that folder may hold; what was not used for longest goes first.",
    )
    add("--project", default="dds", help="Weights & Biases project, with --logger=true.")
    add(
        "--show",
        type=Literal["table", "path", "json"],
        default="table",
        help="What is printed: progress and tables; the run's folder alone; or summary.json, or with --plan "
        "the plan, alone.",
    )
    add(
        "--plan",
        action="store_true",
        help="Show the conditions and their cost, in network calls for one image, and stop.",
    )
    return parser


def run_folder(config: Namespace) -> RunFolder:
    """Return the folder of the run that options name.

    Raises:
        InputError: If they name none, or one that is not there.
    """
    experiment = below(config.runs, config.experiment)
    if (config.share or config.conditions) and not config.name:
        raise InputError("--share and --conditions need --name: of the run that all jobs add to.")
    if config.name or not config.resume:
        return open_folder(below(experiment, config.name or new_name()), numbered=not config.name)
    newest = newest_run(experiment)
    if newest is None:
        raise InputError(f"there is no run in {experiment} to go on with. Leave --resume out.")
    return open_folder(newest)


def new_name() -> str:
    """Return the time and, in a sweep, the id of the run: two agents may start in the same second."""
    of_sweep = [os.environ["WANDB_RUN_ID"]] if "WANDB_SWEEP_ID" in os.environ else []
    return "_".join([f"{datetime.now():%Y-%m-%d_%H-%M-%S}", *of_sweep])


def may_go_on(config: Namespace) -> bool:
    """Tell whether there may be a run of this name already; a part of one joins the others."""
    return bool(config.resume or config.share or config.conditions)
