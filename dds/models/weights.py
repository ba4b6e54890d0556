"""Reading weights: never running code from them, never loading half of them."""

import importlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from inspect import isclass, signature
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dds.errors import InputError
from dds.models.checkpoint_layouts import fitting, shown, the_fitting

_AUTO = "auto"

BUILDERS = ("dds.models", "diffusers", "segmentation_models_pytorch", "timm", "torchvision")
"""Packages whose networks a weights file may name as its own."""

_FETCHING = ("dds.models.hub.zero_shot",)
"""Modules among them that cannot do without."""

NO_WEIGHTS = {
    "backbone_weights": None,
    "encoder_weights": None,
    "pretrained": False,
    "weights": None,
    "weights_backbone": None,
}
"""Arguments by which timm, torchvision, segmentation-models-pytorch and our own networks fetch weights."""

# Packages that build networks load weights too, some (torchvision, older timm) with whatever code is in them.
os.environ.setdefault("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")


def pretrained(
    model: nn.Module,
    weights: str,
    key: str | None = None,
    strip: str = "",
    in_order: bool = False,
    ignore: str | list[str] | None = None,
) -> nn.Module:
    """Load a weights file into any network; for YAML: `class_path: dds.models.pretrained`.

    Args:
        model: The network, given by `class_path` and `init_args`.
        weights: A `.safetensors` file or a checkpoint written by `torch.save`.
        key: The checkpoint's entry that holds the weights, e.g. `state_dict`; dots descend, as in
            `model.state_dict`. `auto`: the only entry, with the only prefix, that fits the network.
        strip: A prefix to take off every name, e.g. `module.`.
        in_order: The file's entries are those of the network in the same order under other names, as of the
            same architecture in another package; only their number and shapes can be checked.
        ignore: Entries to leave out, a pattern or several, e.g. `criterion.*`; with or without what `strip`
            takes off.

    Returns:
        The network with its weights.

    Raises:
        InputError: If the file is absent, needs code to be read, or does not fit the network exactly, or if
            there is nothing to ignore by a pattern.
    """
    content = state = read_weights(weights)
    if key == _AUTO:
        key, strip = the_fitting(model, content, weights)
    if key:
        state = _descend(state, key, weights)
    state = _without(state, [ignore] if isinstance(ignore, str) else ignore or [], strip, weights)
    names = list(model.state_dict()) if in_order else [name.removeprefix(strip) for name in state]
    if len(names) != len(state):
        raise InputError(f"{weights} has {len(state)} entries; {type(model).__name__} has {len(names)}.")
    try:
        load_strictly(model, dict(zip(names, state.values(), strict=True)), weights)
    except InputError as error:
        if found := list(fitting(model, content)):
            raise InputError(f"{error} What fits: {shown(found)}.") from error
        raise
    return model


def _descend(content: Mapping[str, Any], key: str, source: str) -> dict[str, Any]:
    """Return the entry of that name; where there is none, its dots descend."""
    if key in content:
        return _named(content[key], f"{key} of {source}")
    first, _, rest = key.partition(".")
    if not rest or first not in content:
        raise InputError(
            f"{source} has no entry {key!r}; it has {_some(content)}. Set key to one of them; dots descend."
        )
    return _descend(_named(content[first], f"{first} of {source}"), rest, f"{first} of {source}")


def _without(state: dict[str, Any], patterns: Sequence[str], strip: str, source: str) -> dict[str, Any]:
    """Leave out the entries that match a pattern, of which each must match some."""
    ignored: set[str] = set()
    for pattern in patterns:
        matched = {
            name
            for name in state
            if fnmatchcase(name, pattern) or fnmatchcase(name.removeprefix(strip), pattern)
        }
        if not matched:
            raise InputError(
                f"{source} has no entry like ignore={pattern!r}; it has {_some(state)}. Correct the pattern, "
                "or leave it out."
            )
        ignored |= matched
    return {name: value for name, value in state.items() if name not in ignored}


def _some(names: Iterable[str]) -> str:
    """Name a few entries, of each part of a network one."""
    first = {name.split(".")[0]: name for name in sorted(names, reverse=True)}
    return ", ".join([*sorted(first.values())[:8], *["…"] * (len(first) > 8)])


def read_weights(path: str | Path) -> dict[str, Any]:
    """Read a state dict without executing code from the file.

    Raises:
        InputError: If the file is absent, damaged, no state dict, or a pickle that holds more than tensors.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(
            f"weights file {path} does not exist. Download or train it, as the config's first lines say, or "
            "give its path."
        )
    try:
        content = _read(path)
    except Exception as error:  # a damaged file raises almost anything
        raise InputError(f"{path} {_reason(str(error))}") from error
    return _named(content, path)


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return torch.load(path, map_location="cpu", weights_only=True)


def _named(content: Any, source: object) -> dict[str, Any]:
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(
            f"{source} is a {type(content).__name__}; expected tensors by name, as in model.state_dict()."
        )
    return content


def _reason(error: str) -> str:
    """Say why torch did not load a file, without its advice to load it all the same."""
    if "weights_only" not in error:
        return f"cannot be read as weights: {error}. Download it again."
    asked = re.search(r"GLOBAL (\S+)", error)
    detail = f": {asked[1]}" if asked else ", or is damaged"
    return (
        f"holds more than tensors{detail}. It is not loaded, as that could run code. Save model.state_dict() "
        "again where you trust the file, best as .safetensors."
    )


ANSWERS = ("log_output", "inverse")
"""What a network's file, and then a true attribute of it, may say of its answers; see `DepthEstimation`."""


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
            "Check the network's init_args, and `key`, `strip` and `ignore` for checkpoints that wrap their "
            "weights or hold more."
        ) from error


def save_self_describing(model: nn.Module, spec: Mapping[str, Any], path: Path) -> None:
    """Write weights in half precision with the network's `class_path` and `init_args` in the header.

    Args:
        model: The network.
        spec: What builds it, `class_path` and `init_args`, and optionally the `mean` and `std` that its input
            is normalised by, and what its answers are (`ANSWERS`); as JSON values.
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
        InputError: If the file does not describe its network, or names for it anything but a network of
            `BUILDERS`, or arguments that this one does not take.
    """
    state = read_weights(path)
    try:
        spec = _network_spec(Path(path))
        model = _build(spec, path)
        normalisation = (spec["mean"], spec["std"]) if "mean" in spec else None
    except InputError:
        raise
    except Exception as error:  # of any network, given any arguments
        raise InputError(
            f"{path} describes a network that cannot be built: {error!r}. Download it again, or name the "
            "network yourself, by dds.models.pretrained."
        ) from error
    load_strictly(model, state, path)
    if normalisation:
        cast(Any, model).normalisation = normalisation
    for name in ANSWERS:
        if spec.get(name) is True:
            setattr(model, name, True)
    return model


def _network_spec(path: Path) -> Any:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if "network" in metadata:
            return json.loads(metadata["network"])
    raise InputError(
        f"{path} does not say which network it belongs to. Name it: "
        "{class_path: dds.models.pretrained, init_args: {model: {class_path: ...}, weights: " + f"{path}}}}}"
    )


def _build(spec: Mapping[str, Any], path: str | Path) -> nn.Module:
    build = _builder(spec["class_path"])
    if build is None:
        raise InputError(
            f"{path} names {spec['class_path']} as its network; only networks of {', '.join(BUILDERS)} are "
            "built for a file. Name the network yourself, by dds.models.pretrained, where you trust the file."
        )
    arguments = {**spec.get("init_args", {}), **spec.get("dict_kwargs", {})}
    fetching = signature(build).parameters.keys() & NO_WEIGHTS.keys()
    arguments |= {key: NO_WEIGHTS[key] for key in fetching}  # the file holds them all, and fetches none
    for key, value in arguments.items():
        if isinstance(value, Mapping) and "class_path" in value:
            arguments[key] = _build(value, path)
        arguments[key] = NO_WEIGHTS.get(key, arguments[key])
    return build(**arguments)


def _builder(class_path: str) -> Callable[..., nn.Module] | None:
    """Return what a file names, if it is a network's class or a function whose annotation is one.

    Nothing else is ever called: these packages also hold functions that fetch, unpack or write files.
    """
    module, _, name = class_path.rpartition(".")
    if not f"{module}.".startswith(tuple(f"{package}." for package in BUILDERS)):
        return None
    found = getattr(importlib.import_module(module), name)
    if getattr(found, "__module__", "") in _FETCHING:
        return None
    made = found if isclass(found) else signature(found).return_annotation
    return found if isclass(made) and issubclass(made, nn.Module) else None
