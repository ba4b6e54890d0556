"""The networks that come with the package, and every other way a YAML may name a network."""

import hashlib
from pathlib import Path
from typing import Any, cast

import yaml
from torch import nn

from dds.errors import InputError
from dds.models.diffusion.diffusers_pipeline import is_pipeline, read_pipeline
from dds.models.diffusion.schedule import NoiseSchedule
from dds.models.normalisation import why_not_normalised
from dds.models.weights import load_self_describing
from dds.models.wrappers import unwrapped

ZOO = Path(__file__).parent / "zoo"
PREFIX = "zoo:"


def resolve(model: str | nn.Module) -> nn.Module:
    """Turn what a user wrote into a network.

    Args:
        model: A network; `zoo:<name>` for a bundled one; or the path of a file written by `train.py`.

    Raises:
        InputError: If the name or file is unknown, or a bundled file is not the one that was published.
    """
    if isinstance(model, nn.Module):
        return model
    if not isinstance(model, str):
        raise InputError(
            f"model is a {type(model).__name__}; expected a network, its name in the zoo, or the path of a "
            "file. Where a function makes more than a network, wrap it in one that returns that alone."
        )
    network = load_self_describing(locate(model))
    if model.startswith(PREFIX) and why_not_normalised(network):
        cast(Any, network).normalisation = 0.0, 1.0  # what they were trained on here
    return network


def resolve_diffusion(
    model: str | nn.Module, scheduler: dict[str, Any] | None = None
) -> tuple[nn.Module, NoiseSchedule]:
    """Turn what a user wrote into a diffusion network and the schedule that it was trained with.

    Args:
        model: What `resolve` takes; or a diffusers folder or hub name (`read_pipeline`).
        scheduler: Arguments of a diffusers `DDPMScheduler`; default: what a diffusers folder says, else
            linear, 1000 steps.

    Raises:
        InputError: If either is unknown, or the network wants a class label, which a purifier has not got.
    """
    if isinstance(model, str) and is_pipeline(model):
        model, own = read_pipeline(model)
        scheduler = own if scheduler is None else scheduler
    network = unwrapped(resolve(model))
    if getattr(network, "class_embedding", None) is not None:
        raise InputError(
            "the diffusion network is class-conditional: it needs the class of every image, which a defence "
            "does not know. Use an unconditional network, such as 256x256_diffusion_uncond.pt."
        )
    return network, NoiseSchedule.from_config(scheduler)


def locate(name: str) -> Path:
    """Return the weights file behind `zoo:<name>` (its hash checked) or a path."""
    if not name.startswith(PREFIX):
        return Path(name).expanduser()
    hashes = yaml.safe_load((ZOO / "sha256.yaml").read_text())
    name = name.removeprefix(PREFIX)
    if name not in hashes:
        raise InputError(f"the zoo has no {name!r}; it has {', '.join(sorted(hashes))}.")
    path = ZOO / f"{name}.safetensors"
    if file_hash(path) != hashes[name]:
        raise InputError(
            f"{path} is not the published file (its SHA-256 differs). Restore it from the repository."
        )
    return path


def file_hash(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
