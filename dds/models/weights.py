"""Reading weights: never running code from them, never loading half of them."""

import importlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dds.errors import InputError

BUILDERS = ("dds", "diffusers", "segmentation_models_pytorch", "timm", "torchvision")
"""Packages whose classes a weights file may name for its network."""


def pretrained(
    model: nn.Module, weights: str, key: str | None = None, strip: str = "", in_order: bool = False
) -> nn.Module:
    """Load a weights file into any network; for YAML: `class_path: dds.models.pretrained`.

    Args:
        model: The network, given by `class_path` and `init_args`.
        weights: A `.safetensors` file or a checkpoint written by `torch.save`.
        key: The checkpoint's entry that holds the weights, e.g. `state_dict`.
        strip: A prefix to take off every name, e.g. `module.`.
        in_order: The file's entries are those of the network in the same order under other names, as of the
            same architecture in another package; only their number and shapes can be checked.

    Returns:
        The network with its weights.

    Raises:
        InputError: If the file is absent, needs code to be read, or does not fit the network exactly.
    """
    state: Any = read_weights(weights)
    if key is not None:
        if key not in state:
            raise InputError(
                f"{weights} has no entry {key!r}; it has {', '.join(sorted(state)[:8])}. "
                "Set key to one of them."
            )
        state = state[key]
    names = list(model.state_dict()) if in_order else [name.removeprefix(strip) for name in state]
    if len(names) != len(state):
        raise InputError(f"{weights} has {len(state)} entries; {type(model).__name__} has {len(names)}.")
    load_strictly(model, dict(zip(names, state.values(), strict=True)), weights)
    return model


def read_weights(path: str | Path) -> dict[str, Any]:
    """Read a state dict without executing code from the file.

    Raises:
        InputError: If the file is absent, damaged, or a pickle that holds more than tensors.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(
            f"weights file {path} does not exist. Download or train it, as the config's first lines say, or "
            "give its path."
        )
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return cast(dict[str, Any], torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors and is not loaded, as that could run code: {error}. "
            "Save model.state_dict() again where you trust the file, best as .safetensors."
        ) from error
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise InputError(f"{path} cannot be read as weights: {error}. Download it again.") from error


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Load a state dict whose names and shapes must be exactly the network's.

    Raises:
        InputError: Naming what is missing, what is surprising and what has another shape.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"{source} does not fit {type(model).__name__}. {str(error)[:1000]}\n"
            "Check the network's init_args, and `key` and `strip` for checkpoints that wrap their weights."
        ) from error


def save_self_describing(model: nn.Module, spec: Mapping[str, Any], path: Path) -> None:
    """Write weights in half precision with the network's `class_path` and `init_args` in the header.

    Args:
        model: The network.
        spec: What builds it, `class_path` and `init_args`, and optionally the `mean` and `std` that its input
            is normalised by; as JSON values.
        path: The `.safetensors` file.
    """
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata={"network": json.dumps(spec)})
    partial.replace(path)


def load_self_describing(path: str | Path) -> nn.Module:
    """Build the network that a file written by `save_self_describing` describes, and load it.

    Raises:
        InputError: If the file does not describe its network or names a class outside `BUILDERS`.
    """
    state, spec = read_weights(path), _network_spec(Path(path))
    model = _build(spec, path)
    load_strictly(model, state, path)
    if "mean" in spec:
        cast(Any, model).normalisation = (spec["mean"], spec["std"])
    return model


def _network_spec(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if "network" in metadata:
            return cast(dict[str, Any], json.loads(metadata["network"]))
    raise InputError(
        f"{path} does not say which network it belongs to. Name it: "
        "{class_path: dds.models.pretrained, init_args: {model: {class_path: ...}, weights: " + f"{path}}}}}"
    )


def _build(spec: Mapping[str, Any], path: str | Path) -> nn.Module:
    module, _, name = spec["class_path"].rpartition(".")
    if module.split(".")[0] not in BUILDERS:
        raise InputError(
            f"{path} names {spec['class_path']}; only classes of {', '.join(BUILDERS)} are built."
        )
    arguments = {**spec.get("init_args", {}), **spec.get("dict_kwargs", {})}
    for key, value in arguments.items():
        if isinstance(value, Mapping) and "class_path" in value:
            arguments[key] = _build(value, path)
    return cast(nn.Module, getattr(importlib.import_module(module), name)(**arguments))
