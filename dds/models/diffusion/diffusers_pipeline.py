"""Pixel-space diffusion models in diffusers' own layout."""

import re
from pathlib import Path
from typing import Any

from torch import nn

from dds.errors import InputError
from dds.models.diffusion.diffusers_folder import DiffusersFolder

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WEIGHTS = (".safetensors", ".pt", ".pth", ".th", ".ckpt", ".bin")


def is_pipeline(name: str) -> bool:
    """Tell a diffusers folder or hub name from the path of a weights file and from `zoo:<name>`."""
    path = Path(name).expanduser()
    if path.exists():
        return path.is_dir()
    return _HUB_NAME.fullmatch(name) is not None and path.suffix not in _WEIGHTS


def read_pipeline(name: str) -> tuple[nn.Module, dict[str, Any] | None]:
    """Load an unconditional pixel-space pipeline (DDPM, DDIM, ...) or a bare `UNet2DModel`.

    Args:
        name: A folder as `save_pretrained` writes it: `model_index.json`, `unet/` and `scheduler/`, or all
            files beside each other as in pipelines of 2022; a folder with the network alone; or the name of
            any of these on the hub, which is downloaded once, to the hub's cache.

    Returns:
        The network, float32, and the configuration of its scheduler; None for a network alone.

    Raises:
        InputError: If there is no such model, it is of another kind, or its weights do not fit.
    """
    from diffusers import UNet2DModel  # takes seconds to import

    folder = DiffusersFolder.find(name)
    index = folder.read_json("model_index.json") or {}
    part = "unet" if folder.has("unet") else ""
    _check_kind(name, index, folder.read_json(str(Path(part, "config.json"))))
    scheduler = folder.read_json("scheduler/scheduler_config.json")
    scheduler = scheduler or folder.read_json("scheduler_config.json")
    if "scheduler" in index and scheduler is None:
        raise InputError(f"{name} names a scheduler but holds no scheduler_config.json. {folder.remedy}")
    return folder.read_network(UNet2DModel, part), scheduler


def _check_kind(name: str, index: dict[str, Any], config: dict[str, Any] | None) -> None:
    others = sorted(part for part in index if not part.startswith("_") and part not in ("unet", "scheduler"))
    if others:
        raise InputError(
            f"{name} is a {index.get('_class_name')} with {', '.join(others)}; expected unet and scheduler "
            "alone: a pipeline that works on pixels. Name such a one, e.g. google/ddpm-cifar10-32."
        )
    kind = config.get("_class_name") if config else "no config.json"
    if kind != "UNet2DModel":
        raise InputError(
            f"{name} holds {kind}; expected a UNet2DModel. Give a folder that its save_pretrained wrote."
        )
