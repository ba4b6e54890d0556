"""The command line behind `train.py`."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from dds.command_line import make_parser, plainly, stem
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.models.weights import NO_WEIGHTS, save_self_describing
from dds.tasks import BaseTask
from dds.trainer import build_trainer


@plainly
def train(arguments: list[str]) -> None:
    """Train a network and write it to `runs/train/<name>/model.safetensors`."""
    parser = make_parser(
        "Train a task's network, or a denoiser. Example: train.py --config train/seg_scenes.yaml"
    )
    parser.add_subclass_arguments(LightningModule, "task", required=True, help="What is trained.")
    parser.add_subclass_arguments(BaseDataModule, "data", required=True, help="What it is trained on.")
    parser.add_class_arguments(Trainer, "trainer", skip={"logger"}, instantiate=False, sub_configs=True)
    parser.add_argument("--name", type=str | None, help="Name of the run; default: the config's.")
    parser.add_argument("--resume", action="store_true", help="Go on from the run's last checkpoint.")
    parser.add_argument("--checkpoint_every", type=int, default=200, help="Steps between two checkpoints.")
    config = parser.parse_args(arguments)
    folder = Path("runs/train") / (config.name or stem(config))
    checkpoint, weights = folder / "last.ckpt", folder / "model.safetensors"
    if (checkpoint.exists() or weights.exists()) and not config.resume:
        raise InputError(f"{folder} holds a training already. Continue it with --resume, or give --name.")
    built = parser.instantiate(config)
    saver = ModelCheckpoint(
        folder, "last", every_n_train_steps=config.checkpoint_every, enable_version_counter=False
    )
    options = {**built.trainer.as_dict(), "callbacks": [*(built.trainer.callbacks or []), saver]}
    trainer = build_trainer(**options, logger=CSVLogger(folder, name="log"))
    try:
        trainer.fit(built.task, built.data, ckpt_path=str(checkpoint) if checkpoint.exists() else None)
    except UnpicklingError as error:
        raise InputError(
            f"{checkpoint} is damaged, or holds more than a checkpoint of this training; it is not loaded, "
            "as that could run code. Delete it and start anew."
        ) from error
    if trainer.global_step < trainer.estimated_stepping_batches:
        print(f"Stopped at step {trainer.global_step}; go on with --resume.")
    elif trainer.is_global_zero:
        save_self_describing(built.task.model, {**_network(config), **_normalisation(built.task)}, weights)
        print(f"Weights: {weights}")


def _normalisation(task: LightningModule) -> dict[str, list[float]]:
    """Return what a task normalises its network's input by."""
    if not isinstance(task, BaseTask):
        return {}
    return {"mean": task.mean.flatten().tolist(), "std": task.std.flatten().tolist()}


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
