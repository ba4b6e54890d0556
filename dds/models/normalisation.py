from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import nn

from dds.errors import InputError
from dds.models.untrained import is_untrained
from dds.models.wrappers import nested

Channels = float | Iterable[float]

_SET = "Set task.mean and task.std to what its input wants, or to [0] and [1] if it sees to that itself"

_IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_NOTHING = {"mean": [0.0], "std": [1.0]}


def own_normalisation(model: nn.Module) -> tuple[Channels, Channels]:
    """Return the mean and std that a network says its input wants; 0 and 1 where it says nothing.

    Files of `train.py` say what they were trained with; timm's networks, and ours around them, have a
    `pretrained_cfg`; segmentation-models-pytorch's follow the weights that their encoder began with;
    torchvision's by `torchvision_network` bring those of their weights.

    Raises:
        InputError: If it cannot be known: of a scripted network, or where a network that says something is
            wrapped in another, which may normalise by itself.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(f"a scripted network does not say how its input is normalised. {_SET}.")
    if (said := _said(model)) is not None:
        return said
    for inner in nested(model):
        if (said := _said(inner)) not in (None, (0.0, 1.0)):
            raise InputError(
                f"{type(model).__name__} is wrapped around {type(inner).__name__}, whose input wants "
                f"mean and std of {said}; whether the wrapper brings that about cannot be seen. {_SET}."
            )
    return 0.0, 1.0


def why_not_normalised(model: nn.Module) -> str | None:
    """Return what has to be said of a network that has been trained, nobody says on which input; else None.

    Of a network that normalises nothing the user may mean so, or may have forgotten it.
    """
    known = any(_said(inner) is not None for inner in nested(model))
    if known or isinstance(model, torch.jit.ScriptModule) or is_untrained(model):
        return None
    return (
        f"WARNING: nothing says how {type(model).__name__} wants its input normalised; it gets images in "
        f"[0, 1] as they are. {_SET}. ImageNet's are {_IMAGENET[0]} and {_IMAGENET[1]}; torchvision's "
        "weights bring theirs by dds.models.torchvision_network."
    )


def refuse_second_normalisation(model: nn.Module, mean: object, std: object) -> None:
    """Refuse a mean or std for a network that normalises its input by itself.

    Raises:
        InputError: If any is given but that changes nothing.
    """
    given = {name: value for name, value in (("mean", mean), ("std", std)) if value is not None}
    if getattr(model, "normalises_itself", False) and given not in ({}, _NOTHING):
        raise InputError(
            f"task.{' and task.'.join(given)} would normalise a second time: {type(model).__name__} does it "
            "by the model's own image processor. Leave it out; processor: {image_mean: […], image_std: […]} "
            "changes what the network does."
        )


def _said(model: nn.Module) -> tuple[Channels, Channels] | None:
    if hasattr(model, "normalisation"):
        return cast(tuple[Channels, Channels], model.normalisation)
    known: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    config = getattr(model, "config", None)
    if isinstance(config, dict) and config.get("encoder_weights"):
        from segmentation_models_pytorch.encoders import get_preprocessing_params  # takes seconds to import

        known = get_preprocessing_params(config["encoder_name"], config["encoder_weights"])
    return (known["mean"], known["std"]) if "mean" in known and "std" in known else None
