"""Looking at what a network computes on the way to its output."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from dds.errors import InputError
from dds.models.wrappers import nested

_POOLED = (
    "fc_norm",
    "global_pool",
    "head.global_pool",
    "avgpool",
    "backbone.norm",
    "backbone.global_pool",
    "encoder",
    "backbone",
)
"""Where timm, torchvision, DINOv2, segmentation-models-pytorch and detectors have features worth pooling."""


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the layer of that name.

    Raises:
        InputError: If there is none; the message names a few that there are.
    """
    layers: dict[str, nn.Module] = dict(model.named_modules())
    if name not in layers:
        few = ", ".join(list(layers)[1:9])
        raise InputError(f"{type(model).__name__} has no layer {name!r}; it has {few}, ...")
    return layers[name]


def find_pooled_layer(model: nn.Module) -> nn.Module | None:
    """Return the layer whose output stands for the whole image, if the network is of a known kind."""
    for network in nested(model):
        layers: dict[str, nn.Module] = dict(network.named_modules())
        if found := [layers[name] for name in _POOLED if name in layers]:
            return found[0]
    return None


@contextmanager
def outputs_of(layer: nn.Module) -> Iterator[list[Any]]:
    """Collect what a layer returns while the context lasts."""
    caught: list[Any] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: caught.append(output))
    try:
        yield caught
    finally:
        handle.remove()


def seen_last(caught: list[Any], layer: str) -> Any:
    """Return the last of what `outputs_of` a layer collected.

    Raises:
        InputError: If the network never called the layer, which names it.
    """
    if not caught:
        raise InputError(f"layer {layer!r} takes no part in the network's answers. Name another.")
    return caught[-1]


def pool(features: Any) -> Tensor | None:
    """Reduce what a layer returned to one vector an image.

    Args:
        features: `[B, F]`; `[B, N, F]`, of which the first token is taken (CLS); `[B, F, H, W]`, whose
            positions are averaged; or several of them, of which the last is taken.

    Returns:
        `[B, F]`; None where it is nothing of that kind.
    """
    found = last(features)
    if found is None or not found.is_floating_point() or found.ndim not in (2, 3, 4):
        return None
    if found.ndim == 4:
        return found.mean((2, 3))
    return found[:, 0] if found.ndim == 3 else found


def last(features: Any) -> Tensor | None:
    """Return what a layer returned, of several tensors the last; None where there is none."""
    if isinstance(features, Mapping):
        features = list(features.values())
    if isinstance(features, list | tuple):
        return last(features[-1]) if features else None
    return features if isinstance(features, Tensor) else None
