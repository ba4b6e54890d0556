from collections.abc import Iterable
from typing import Any, cast

from segmentation_models_pytorch.encoders import get_preprocessing_params
from torch import nn

Channels = float | Iterable[float]


def own_normalisation(model: nn.Module) -> tuple[Channels, Channels]:
    """Return the mean and std that a network says its input wants; 0 and 1 where it says nothing.

    Files of `train.py` say what they were trained with; timm's networks, and ours around them, have a
    `pretrained_cfg`; segmentation-models-pytorch's follow the weights that their encoder began with.
    """
    if hasattr(model, "normalisation"):
        return cast(tuple[Channels, Channels], model.normalisation)
    known: dict[str, Any] = getattr(model, "pretrained_cfg", {})
    config = getattr(model, "config", None)
    if isinstance(config, dict) and config.get("encoder_weights"):
        known = get_preprocessing_params(config["encoder_name"], config["encoder_weights"])
    return known.get("mean", 0.0), known.get("std", 1.0)
