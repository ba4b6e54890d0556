"""The command lines behind `train.py` and `evaluate.py`."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

import dds.callbacks
import dds.tasks  # noqa: F401 (known by their bare names in a YAML)
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.models.weights import save_self_describing

CONFIGS = Path(__file__).parent.parent / "configs"


class _ConfigByName(ActionConfigFile):  # type: ignore[misc]
    """Reads a YAML given by its path, or by its bare name in `configs/`."""

    def __call__(self, parser: Any, cfg: Any, values: str, option: Any = None) -> None:  # noqa: ANN401
        super().__call__(parser, cfg, str(find_config(values)), option)


def find_config(name: str) -> Path:
    """Return a YAML file given by its path or by its name in `configs/`.

    Raises:
        InputError: If there is none; the message lists what there is.
    """
    for path in (Path(name).expanduser(), CONFIGS / name, CONFIGS / f"{name}.yaml"):
        if path.is_file():
            return path
    shipped = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml"))
    raise InputError(f"there is no config {name!r}; expected a path, or one of {', '.join(shipped)}.")


def _plainly(command: Callable[[], None]) -> Callable[[], None]:
    """Print the errors that users can mend as one message without a traceback, and exit with 2."""

    @wraps(command)
    def run() -> None:
        try:
            command()
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    return run


def _parser(description: str) -> ArgumentParser:
    parser = ArgumentParser(description=description)
    parser.add_argument(
        "--config", action=_ConfigByName, help="A YAML file: a path, or a name in configs/. Repeatable; later wins."
    )
    return parser


@_plainly
def train() -> None:
    """Train a network and write it to `runs/train/<name>/model.safetensors`."""
    parser = _parser("Train a task's network, or a denoiser. Example: train.py --config train/seg_scenes.yaml")
    parser.add_subclass_arguments(LightningModule, "task", required=True, help="What is trained.")
    parser.add_subclass_arguments(BaseDataModule, "data", required=True, help="What it is trained on.")
    parser.add_class_arguments(Trainer, "trainer", skip={"logger"}, instantiate=False, sub_configs=True)
    parser.add_argument("--name", type=str | None, help="Name of the run; default: the config's.")
    parser.add_argument("--resume", type=bool, default=False, help="Go on from the run's last checkpoint.")
    parser.add_argument("--checkpoint_every", type=int, default=200, help="Steps between two checkpoints.")
    config = parser.parse_args()
    folder = Path("runs/train") / (config.name or Path(str(config.config[-1])).stem)
    checkpoint = folder / "last.ckpt"
    if checkpoint.exists() and not config.resume:
        raise InputError(f"{folder} holds a training already. Continue it with --resume=true, or give --name.")
    built = parser.instantiate_classes(config)
    saver = ModelCheckpoint(
        folder, "last", every_n_train_steps=config.checkpoint_every, enable_version_counter=False
    )
    options = {**built.trainer.as_dict(), "callbacks": [*(built.trainer.callbacks or []), saver]}
    trainer = Trainer(**options, logger=CSVLogger(folder, name="", version=""))
    trainer.fit(built.task, built.data, ckpt_path=str(checkpoint) if checkpoint.exists() else None)
    if trainer.is_global_zero:
        save_self_describing(built.task.model, _network(config), folder / "model.safetensors")
        print(f"Weights: {folder / 'model.safetensors'}")


def _network(config: Namespace) -> dict[str, Any]:
    spec = config.task.init_args.model
    if isinstance(spec, str):
        raise InputError(f"task.model={spec}: name the trained network by class_path and init_args.")
    return dict(spec.as_dict())
