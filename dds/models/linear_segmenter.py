from typing import Any, cast

import timm
from torch import Tensor, nn


class LinearSegmenter(nn.Module):
    """Any timm backbone with one linear layer on its last feature map, as in linear evaluation.

    Args:
        backbone: Name of the timm model.
        classes: Number of classes.
        pretrained: Load timm's weights for the backbone, from the hub or its cache.
        backbone_args: More arguments for `timm.create_model`.
    """

    def __init__(
        self,
        backbone: str,
        classes: int,
        pretrained: bool = False,
        backbone_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = timm.create_model(
            backbone, pretrained=pretrained, features_only=True, out_indices=(-1,), **(backbone_args or {})
        )
        self.head = nn.Conv2d(self.backbone.feature_info.channels()[-1], classes, 1)

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """The backbone's own configuration, with its mean and std."""
        return cast(dict[str, Any], getattr(self.backbone, "pretrained_cfg", {}))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `[B, classes, h, w]` of normalised images, at the feature map's resolution."""
        return cast(Tensor, self.head(self.backbone(image)[-1]))
