import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dds.models.padding import pad_to_multiple

_CONVOLUTIONS, _CHANNELS, _FACTOR = 12, 96, 2


class FFDNet(nn.Module):
    """The noise-conditional denoiser FFDNet of Zhang et al. (IEEE TIP 2018, section III), for colour images.

    The image is folded into a quarter of its pixels with four times the channels, a constant map of sigma for
    each colour is put before them, and a DnCNN of 12 convolutions predicts the noise. Odd sides are padded.

    The layer names are those of the public checkpoint (its `module.` taken off), so that it loads strictly.
    """

    def __init__(self) -> None:
        super().__init__()
        folded = 3 * _FACTOR**2
        layers = [_conv(folded + 3, _CHANNELS), nn.ReLU()]
        for _ in range(_CONVOLUTIONS - 2):
            layers += [_conv(_CHANNELS, _CHANNELS), nn.BatchNorm2d(_CHANNELS), nn.ReLU()]
        body = nn.Sequential(*layers, _conv(_CHANNELS, folded))
        self.intermediate_dncnn = nn.ModuleDict({"itermediate_dncnn": body})  # the checkpoint's spelling

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Return the noise in images in [0, 1], both `[B, 3, H, W]`; sigma `[B]` in the same units."""
        height, width = noisy.shape[-2:]
        folded = F.pixel_unshuffle(pad_to_multiple(noisy, _FACTOR), _FACTOR)  # (B, 12, H/2, W/2)
        level = sigma.reshape(-1, 1, 1, 1).expand(-1, 3, *folded.shape[-2:])  # (B, 3, H/2, W/2)
        noise = self.intermediate_dncnn["itermediate_dncnn"](torch.cat([level, folded], 1))
        return F.pixel_shuffle(noise, _FACTOR)[..., :height, :width]


def _conv(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
