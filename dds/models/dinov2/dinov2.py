"""DINOv2 with linear heads for three tasks (Oquab et al., TMLR 2024, section 7); heads as in Meta's code."""

from collections import OrderedDict
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dds.models.dinov2.heads import HeadFormat
from dds.models.dinov2.network import DinoNetwork


class DinoClassifier(DinoNetwork):
    """A linear layer on the class token and the mean of the patch tokens, after the final norm.

    Args:
        size: The backbone: `s`, `b`, `l` or `g`.
        head: `linear` or `linear4`, trained on ImageNet (four: the class tokens of the last four layers); a
            file like them; or None: to be trained.
        classes: Number of classes; default: those of the head.
        backbone_weights: A local file, timm's or Meta's; default: timm's hub or its cache.
        pretrained: False: a backbone with random weights.
    """

    format = HeadFormat(names=("linear", "linear4"), weight="weight", inputs={1: 2, 4: 5})

    def __init__(
        self,
        size: str,
        head: str | None = "linear",
        classes: int | None = None,
        backbone_weights: str | None = None,
        pretrained: bool = True,
    ) -> None:
        super().__init__(size, head, classes, backbone_weights, pretrained)

    def _build_head(self, inputs: int, outputs: int) -> nn.Module:
        return nn.Linear(inputs, outputs)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `[B, classes]` of normalised images `[B, 3, H, W]`."""
        features = self._features(image, norm=True)
        mean = features[-1][0].mean((2, 3))  # (B, D)
        return cast(Tensor, self.head(torch.cat([*(token for _, token in features), mean], dim=1)))


class DinoSegmenter(DinoNetwork):
    """Batch norm and a 1x1 convolution on the last layer's patch tokens, after the final norm.

    Args:
        size: The backbone: `s`, `b`, `l` or `g`.
        head: `voc2012_linear` (21 classes) or `ade20k_linear` (150); a file like them; or None: to be
            trained.
        classes: Number of classes; default: those of the head.
        backbone_weights: A local file, timm's or Meta's; default: timm's hub or its cache.
        pretrained: False: a backbone with random weights.
        aligned: Where 14 does not divide a side, lay the prediction where the image is in its padding.
            False: stretch it over the image, as Meta's code does, and so its published figures.
    """

    format = HeadFormat(names=("voc2012_linear", "ade20k_linear"), weight="conv_seg.weight", inputs={1: 1})

    def __init__(
        self,
        size: str,
        head: str | None = "voc2012_linear",
        classes: int | None = None,
        backbone_weights: str | None = None,
        pretrained: bool = True,
        aligned: bool = False,
    ) -> None:
        super().__init__(size, head, classes, backbone_weights, pretrained, aligned)

    def _build_head(self, inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(OrderedDict(bn=nn.BatchNorm2d(inputs), conv_seg=nn.Conv2d(inputs, outputs, 1)))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `[B, classes, H, W]` of normalised images `[B, 3, H, W]`."""
        [(patches, _)] = self._features(image, norm=True)
        return self._resize(self.head(patches), image)


class DinoDepth(DinoNetwork):
    """A 1x1 convolution that weighs 256 depths, on patch and class tokens before the final norm.

    Args:
        size: The backbone: `s`, `b`, `l` or `g`.
        head: `nyu_linear` or `nyu_linear4` (four layers); a file like them; or None: to be trained.
        max_depth: The largest of the depths, in metres, as the head was or will be trained: 10 for NYU Depth.
        backbone_weights: A local file, timm's or Meta's; default: timm's hub or its cache.
        pretrained: False: a backbone with random weights.
        aligned: Where 14 does not divide a side, lay the prediction where the image is in its padding.
            False: stretch it over the image, as Meta's code does, and so its published figures.
    """

    format = HeadFormat(names=("nyu_linear", "nyu_linear4"), weight="conv_depth.weight", inputs={1: 2, 4: 8})
    four_layers: ClassVar = {12: [2, 5, 8, 11], 24: [4, 11, 17, 23], 40: [9, 19, 29, 39]}
    """What heads on four layers read, by the number of the backbone's layers."""

    def __init__(
        self,
        size: str,
        head: str | None = "nyu_linear",
        max_depth: float = 10.0,
        backbone_weights: str | None = None,
        pretrained: bool = True,
        aligned: bool = False,
    ) -> None:
        bins = torch.linspace(0.001, max_depth, 256)
        super().__init__(size, head, len(bins), backbone_weights, pretrained, aligned)
        self.register_buffer("bins", bins, persistent=False)

    bins: Tensor

    def _build_head(self, inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(OrderedDict(conv_depth=nn.Conv2d(inputs, outputs, 1)))

    def _choose_layers(self, count: int) -> list[int]:
        return self.four_layers[len(self.backbone.blocks)][-count:]

    def forward(self, image: Tensor) -> Tensor:
        """Return depths `[B, 1, H, W]` in metres of normalised images `[B, 3, H, W]`."""
        maps: list[Tensor] = []
        for patches, token in self._features(image, norm=False):
            maps += [patches, token[..., None, None].expand_as(patches)]  # (B, D, h, w) each
        # Meta's code enlarges, then convolves; both are linear, so their order is free, and this one cheaper.
        scores = F.interpolate(self.head(torch.cat(maps, 1)), scale_factor=4, mode="bilinear")
        weights = scores.relu() + 0.1  # (B, 256, 4h, 4w)
        weights = weights / weights.sum(1, keepdim=True)
        return self._resize(torch.einsum("bkhw,k->bhw", weights, self.bins)[:, None], image)
