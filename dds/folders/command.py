"""The command line behind `evaluate.py purify` and `dds purify`."""

from argparse import SUPPRESS
from functools import partial
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from dds.callbacks import AttackAndPurify
from dds.command_line import make_parser, program
from dds.evaluation import make_console
from dds.folders.purified import PurifiedFolder
from dds.runs.stopping import Stopped, stoppable
from dds.storage import only_here
from dds.trainer import build_trainer, share_cores

_PURPOSE = (
    "Write the images of a folder as the defences of any evaluation's YAML show them: its purifier at each "
    "noise level and its other defences, each with as many noise draws, as OUT/<defence>/<draw>/<name>.png, "
    "with OUT/manifest.json. Neither task nor data set is built, nothing is attacked. What was written is "
    f"kept: the same command goes on where it was stopped. Example: {program('purify')} --config "
    "seg_scenes.yaml --images=photos --out=purified --protocol.noise_levels=[50] --protocol.draws=1."
)

_IGNORED = (
    "task", "data", "certificate", "runs", "experiment", "name", "resume", "share", "conditions",
    "save_attacked", "logger", "store", "store_gib", "project", "show",
)  # fmt: skip
"""What else than the protocol an evaluation's YAML may hold."""


def purify(arguments: list[str]) -> None:
    """Write purified images of a folder."""
    with stoppable():
        parser = _parser()
        config = parser.parse_args(arguments)
        protocol = _build(parser, config)
        images, out = only_here("images", config.images), only_here("out", config.out)
        folder = PurifiedFolder(images, out, protocol, _settings(parser, config))
        console = make_console()
        console.print(folder.plan(), highlight=False, soft_wrap=True)
        if not config.plan:
            _write(folder, _device(config, console), console)


def _write(folder: PurifiedFolder, device: torch.device, console: Console) -> None:
    try:
        written = folder.write(device, console)
    except Stopped as stopped:
        stopped.add_note("What was purified is kept; go on by the same command.")
        raise
    done = f"Files written: {written}." if written else "All was done before."
    console.print(f"{done} Manifest: {folder.manifest}", highlight=False, soft_wrap=True)


def _parser() -> ArgumentParser:
    parser = make_parser(_PURPOSE, "purify")
    add = parser.add_argument
    add("--images", type=str, required=True, help="The folder; its images may lie anywhere below it.")
    add("--out", type=str, required=True, help="Where the purified images go; not below the others.")
    parser.add_class_arguments(AttackAndPurify, "protocol")
    add("--trainer", type=dict, default={}, help="Its accelerator counts: --trainer.accelerator=cpu.")
    add("--plan", action="store_true", help="Say what there is to do, and stop.")
    for name in _IGNORED:
        add(f"--{name}", type=Any, help=SUPPRESS)
    return parser


def _build(parser: ArgumentParser, config: Namespace) -> AttackAndPurify:
    """Build the defences alone."""
    config.protocol.attacks = config.protocol.controls = None
    for name in _IGNORED:
        config[name] = None
    torch.manual_seed(config.protocol.seed)  # of weights that are not loaded
    return parser.instantiate(config).protocol  # type: ignore[no-any-return]


def _settings(parser: ArgumentParser, config: Namespace) -> dict[str, Any]:
    """Return what decides how images are purified, besides levels and draws, as the YAML names it."""
    protocol = yaml.safe_load(parser.dump(config, skip_none=False))["protocol"]
    return {name: protocol[name] for name in ("purifier", "defences", "seed")}


def _device(config: Namespace, console: Console) -> torch.device:
    """Return what Lightning's trainer would choose."""
    silent = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    accelerator = (config.trainer or {}).get("accelerator", "auto")
    trainer = build_trainer(accelerator=accelerator, devices=1, **dict.fromkeys(silent, False))
    share_cores(trainer, partial(console.print, highlight=False))
    return trainer.strategy.root_device
