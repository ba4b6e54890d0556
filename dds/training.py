"""The command line behind `train.py` and `dds train`."""

import sys
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from dds.callbacks import ProgressLines
from dds.command_line import make_parser, plainly, program, stem
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.models.weights import ANSWERS, NO_WEIGHTS, save_self_describing
from dds.runs.checkpoints import Checkpoints
from dds.runs.stopping import Stopped, stoppable
from dds.tasks import BaseTask
from dds.trainer import build_trainer, share_cores
from dds.whole_file import writing

warnings.filterwarnings("ignore", message="Checkpoint directory .* exists")  # it holds the log


@plainly
def train(arguments: list[str]) -> None:
    """Train a network and write it to `runs/train/<name>/model.safetensors`."""
    with stoppable():
        parser = _training_parser()
        config = parser.parse_args(arguments)
        folder = config.runs / "train" / (config.name or stem(config))
        checkpoint, weights = folder / "last.ckpt", folder / "model.safetensors"
        if (checkpoint.exists() or weights.exists()) and not config.resume:
            raise InputError(f"{folder} holds a training already. Continue it with --resume, or give --name.")
        built = parser.instantiate(config)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        checkpoints = Checkpoints(checkpoint, config.checkpoint_every)
        trainer = _trainer(built.trainer.as_dict(), folder, checkpoints)
        share_cores(trainer, print)
        _fit(trainer, built, checkpoints, config)
        if trainer.global_step < trainer.estimated_stepping_batches:
            print(f"Stopped at step {trainer.global_step}; go on with --resume.")
        elif trainer.is_global_zero:
            spec = {**_network(config), **_around(built.task)}
            with writing(weights):
                save_self_describing(built.task.model, spec, weights)
            print(f"Weights: {weights}")


def _training_parser() -> ArgumentParser:
    example = f"{program('train')} --config train/seg_scenes.yaml"
    parser = make_parser(f"Train a task's network, or a denoiser. Example: {example}.", "train")
    parser.add_subclass_arguments(LightningModule, "task", required=True, help="What is trained.")
    parser.add_subclass_arguments(BaseDataModule, "data", required=True, help="What it is trained on.")
    parser.add_class_arguments(Trainer, "trainer", skip={"logger"}, instantiate=False, sub_configs=True)
    parser.set_defaults({"trainer.log_every_n_steps": 1})
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="Folder of all runs.")
    parser.add_argument("--name", type=str | None, help="Name of the run; default: the config's.")
    parser.add_argument("--resume", action="store_true", help="Go on from the run's last checkpoint.")
    parser.add_argument("--checkpoint_every", type=int, default=200, help="Steps between two checkpoints.")
    return parser


def _trainer(options: dict[str, Any], folder: Path, checkpoints: Checkpoints) -> Trainer:
    """Return the trainer of a training; it looks for nothing outside the run's folder."""
    callbacks = [*(options.pop("callbacks") or []), checkpoints]
    if options["enable_progress_bar"] is not False and not sys.stdout.isatty():
        callbacks.append(ProgressLines())
    root = options.pop("default_root_dir") or folder
    logger = CSVLogger(folder, name="log", flush_logs_every_n_steps=1)
    return build_trainer(**options, callbacks=callbacks, default_root_dir=root, logger=logger)


def _fit(trainer: Trainer, built: Namespace, checkpoints: Checkpoints, config: Namespace) -> None:
    path = checkpoints.path
    try:
        trainer.fit(built.task, built.data, ckpt_path=str(path) if path.exists() else None)
    except UnpicklingError as error:
        raise InputError(
            f"{path} is damaged, or holds more than a checkpoint of this training; it is not loaded, "
            "as that could run code. Delete it and start anew."
        ) from error
    except Stopped as stopped:
        again = "" if config.resume else " and --resume"
        kept = f"Step {checkpoints.step} is kept in {path}" if checkpoints.step else "No step is kept yet"
        stopped.add_note(f"{kept}; go on by the same command{again if checkpoints.step else ''}.")
        raise


def _around(task: LightningModule) -> dict[str, Any]:
    """Return what a task normalises its network's input by, and takes its answers for."""
    if not isinstance(task, BaseTask):
        return {}
    answers = {name: True for name in ANSWERS if getattr(task, name, False)}
    return {"mean": task.mean.flatten().tolist(), "std": task.std.flatten().tolist(), **answers}


def _network(config: Namespace) -> dict[str, Any]:
    spec = config.task.init_args.model
    if isinstance(spec, str):
        raise InputError(f"task.model={spec}: name the trained network by class_path and init_args.")
    return _without_weights(spec.as_dict())


def _without_weights(spec: dict[str, Any]) -> dict[str, Any]:
    """Leave out where a network's first weights came from: its file holds them all, and fetches none."""
    arguments = {**spec.get("init_args", {}), **spec.get("dict_kwargs", {})}
    if spec["class_path"].endswith(".pretrained"):
        return _without_weights(arguments["model"])
    for name, value in arguments.items():
        if isinstance(value, dict) and "class_path" in value:
            arguments[name] = _without_weights(value)
        arguments[name] = NO_WEIGHTS.get(name, arguments[name])
    return {"class_path": spec["class_path"], "init_args": arguments}
