from typing import Any

import torch
from torch import Tensor, nn

from dds.errors import InputError
from dds.models.as_found import as_found
from dds.models.features import find_layer, outputs_of, seen_last

_PROBE = 64  # pixels a side, of an image that finds out how wide the layer is


class LinearHead(nn.Module):
    """One linear layer on a feature map of any network, as in linear evaluation of dense tasks.

    With `train_only: head` in the task, the network below stays as it is.

    Args:
        model: The network; its own output is not used.
        layer: Name of the layer that returns the feature map, `[B, F, h, w]`, e.g. `layer4`.
        outputs: Number of classes, or 1 for depth.
    """

    def __init__(self, model: nn.Module, layer: str, outputs: int) -> None:
        super().__init__()
        self.backbone, self.layer = model, layer
        self.head = nn.Conv2d(self._width(), outputs, 1)

    def _width(self) -> int:
        with as_found(self.backbone), torch.no_grad():
            self.backbone.eval()  # batch norms must not learn from this image
            features = self._features(torch.zeros(1, 3, _PROBE, _PROBE))
        if not isinstance(features, Tensor) or features.ndim != 4:
            came = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise InputError(
                f"layer {self.layer} returns {came}; expected a feature map [B, F, h, w]. "
                "Name another layer; for DINOv2 there is dds.models.DinoSegmenter."
            )
        return int(features.shape[1])

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """The network's own configuration, with its mean and std."""
        return getattr(self.backbone, "pretrained_cfg", {})

    def forward(self, image: Tensor) -> Tensor:
        """Return `[B, outputs, h, w]`, as fine as the feature map, of normalised images `[B, 3, H, W]`."""
        return self.head(self._features(image))  # type: ignore[no-any-return]

    def _features(self, image: Tensor) -> Tensor:
        with outputs_of(find_layer(self.backbone, self.layer)) as caught:
            self.backbone(image)
        return seen_last(caught, self.layer)  # type: ignore[no-any-return]
