from inspect import signature
from typing import Any, cast

from torch import nn
from torchvision.models import get_model, get_model_builder, get_model_weights

from dds.errors import InputError


def torchvision_network(name: str, weights: str | None = "DEFAULT", **options: Any) -> nn.Module:
    """Build a network of torchvision with its published weights, which bring their mean and std.

    Args:
        name: E.g. `resnet50` or `deeplabv3_resnet50`, as `torchvision.models.get_model` takes it.
        weights: E.g. `IMAGENET1K_V2`; the best by default; null: none, at random.
        **options: Of torchvision's own function for this network.

    Returns:
        The network.

    Raises:
        InputError: If there is no such network, or no such weights of it.
    """
    if weights is None:
        return _untrained(name, options)
    try:
        known = get_model_weights(name)
        chosen = known[weights] if weights != "DEFAULT" else cast(Any, known).DEFAULT
    except (ValueError, KeyError) as error:
        raise InputError(
            f"torchvision has no network {name} with weights {weights}. torchvision.models.list_models() and "
            f"get_model_weights({name!r}) list them."
        ) from error
    network = cast(nn.Module, get_model(name, weights=chosen, **options))
    preset = chosen.transforms()
    if hasattr(preset, "mean"):  # detectors normalise by themselves
        cast(Any, network).normalisation = (list(preset.mean), list(preset.std))
    return network


def _untrained(name: str, options: dict[str, Any]) -> nn.Module:
    build = get_model_builder(name)
    parts = {"weights_backbone": None} if "weights_backbone" in signature(build).parameters else {}
    return cast(nn.Module, build(weights=None, **parts, **options))
