"""The networks that come with the package, and every other way a YAML may name a network."""

import hashlib
from pathlib import Path

import yaml
from torch import nn

from dds.errors import InputError
from dds.models.weights import load_self_describing

ZOO = Path(__file__).parent / "zoo"
PREFIX = "zoo:"


def resolve(model: nn.Module | str) -> nn.Module:
    """Turn what a user wrote into a network.

    Args:
        model: A network; `zoo:<name>` for a bundled one; or the path of a file written by `train.py`.

    Raises:
        InputError: If the name or file is unknown, or a bundled file is not the one that was published.
    """
    if isinstance(model, nn.Module):
        return model
    return load_self_describing(locate(model))


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
