from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LAYERS, _CHANNELS = 20, 64


class BFCNN(nn.Module):
    """The bias-free denoiser BF-CNN of Mohan et al. (ICLR 2020), for colour images of any size.

    DnCNN without any additive constant: convolutions have no bias, and batch normalisation only divides by
    the standard deviation and multiplies. It is therefore homogeneous, `f(a y) = a f(y)` for a > 0, and works
    at noise that it was not trained on. For inference: normalisation always takes the stored deviations.

    The layer names are those of the public checkpoint, so that it loads strictly.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *[_CHANNELS] * (_LAYERS - 1), 3]
        self.conv_layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False) for inputs, outputs in pairwise(widths)
        )
        self.running_sd, self.gammas = _per_channel(), _per_channel()

    def forward(self, noisy: Tensor) -> Tensor:
        """Return the noise in images in [0, 1], both `[B, 3, H, W]`."""
        first, *middle, last = self.conv_layers
        x = F.relu(first(noisy))  # (B, 64, H, W)
        for conv, deviation, gamma in zip(middle, self.running_sd, self.gammas, strict=True):
            x = F.relu(conv(x) * (gamma / deviation))
        return last(x)  # type: ignore[no-any-return]


def _per_channel() -> nn.ParameterList:
    """Return a factor of one for each channel of each layer but the first and the last."""
    return nn.ParameterList(nn.Parameter(torch.ones(1, _CHANNELS, 1, 1)) for _ in range(_LAYERS - 2))
