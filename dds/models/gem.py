from typing import Any

from torch import Tensor, nn

from dds.errors import InputError
from dds.models.features import find_layer, outputs_of, seen_last


class GeM(nn.Module):
    """Generalised-mean pooling of any network's feature map (Radenovic et al., TPAMI 2018, eq. 3).

    Args:
        model: The network; its own output is not used.
        layer: Name of the layer that returns the feature map, `[B, F, h, w]`, e.g. `layer4`.
        p: The exponent; 1 is the average, more comes closer to the maximum.
        eps: Smallest value of a feature before the power is taken.
    """

    def __init__(self, model: nn.Module, layer: str, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.model, self.p, self.eps = model, p, eps
        find_layer(model, layer)
        self.layer = layer

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """The network's own configuration, with its mean and std."""
        return getattr(self.model, "pretrained_cfg", {})

    def forward(self, image: Tensor) -> Tensor:
        """Return one vector an image, `[B, F]`, of normalised images `[B, 3, H, W]`."""
        with outputs_of(find_layer(self.model, self.layer)) as caught:
            self.model(image)
        features = seen_last(caught, self.layer)
        if not isinstance(features, Tensor) or features.ndim != 4:
            raise InputError(
                f"layer {self.layer!r} of {type(self.model).__name__} does not return a feature map; "
                "expected [B, F, h, w], as its last convolutional stage returns. Name that one."
            )
        return features.clamp(min=self.eps).pow(self.p).mean((2, 3)).pow(1 / self.p)
