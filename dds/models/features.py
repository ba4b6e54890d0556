"""Looking at what a network computes on the way to its output."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, nn

from dds.errors import InputError

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
    layers = dict(model.named_modules())
    return next((layers[name] for name in _POOLED if name in layers), None)


@contextmanager
def outputs_of(layer: nn.Module) -> Iterator[list[Any]]:
    """Collect what a layer returns while the context lasts."""
    caught: list[Any] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: caught.append(output))
    try:
        yield caught
    finally:
        handle.remove()


def pool(features: Any) -> Tensor:
    """Reduce what a layer returned to one vector an image.

    Args:
        features: `[B, F]`; `[B, N, F]`, of which the first token is taken (CLS); `[B, F, H, W]`, whose
            positions are averaged; or several of them, of which the last is taken.

    Returns:
        `[B, F]`.
    """
    found = last(features)
    if found.ndim == 4:
        return found.mean((2, 3))
    return found[:, 0] if found.ndim == 3 else found


def last(features: Any) -> Tensor:
    """Return what a layer returned, of several tensors the last."""
    if isinstance(features, Mapping):
        features = list(features.values())
    return cast(Tensor, features[-1] if isinstance(features, Sequence) else features)
