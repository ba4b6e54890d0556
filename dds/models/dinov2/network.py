"""What the DINOv2 networks share (Oquab et al., TMLR 2024): backbone, head, and images of any size."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dds.errors import InputError
from dds.models.dinov2.heads import HeadFormat
from dds.models.weights import load_strictly, read_weights

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

PATCH = 14
"""Pixels a side of the part of the image that one token stands for."""

NAMES = {"s": "vit_small", "b": "vit_base", "l": "vit_large", "g": "vit_giant"}


def load_backbone(size: str, weights: str | None = None, pretrained: bool = True) -> "VisionTransformer":
    """Build a DINOv2 backbone for images of any size that `PATCH` divides.

    Args:
        size: `s`, `b`, `l` or `g`.
        weights: A file with timm's or with Meta's own names; None: from timm's hub or its cache.
        pretrained: False: random weights where no file is given.

    Raises:
        InputError: If the size is unknown, or the weights cannot be had or do not fit.
    """
    import timm  # takes seconds to import
    from timm.models.vision_transformer import checkpoint_filter_fn

    if size not in NAMES:
        raise InputError(f"DINOv2 has no size {size!r}; expected one of {', '.join(NAMES)}.")
    name = f"{NAMES[size]}_patch14_dinov2.lvd142m"
    try:
        backbone = timm.create_model(name, pretrained=pretrained and weights is None, dynamic_img_size=True)
    except OSError as error:
        raise InputError(
            f"the weights of {name} cannot be had from timm's hub: {error} Give the path of timm's file or "
            f"of Meta's dinov2_vit{size}14_pretrain.pth as backbone_weights."
        ) from error
    if weights is not None:
        load_strictly(backbone, checkpoint_filter_fn(read_weights(weights), backbone), weights)
    return backbone


class DinoNetwork(nn.Module, ABC):
    """A DINOv2 backbone with a linear head: one that Meta published, or one to be trained.

    Args:
        size: The backbone: `s`, `b`, `l` or `g`.
        head: The name of an official head, downloaded once; the path of a file like it; or None: an untrained
            head on the last layer.
        outputs: What the head returns for each token; None: what its file says.
        backbone_weights: A local file, timm's or Meta's; None: timm's hub or its cache.
        pretrained: False: a backbone with random weights.
        aligned: Where `PATCH` does not divide a side, the image is padded all around. True: a dense
            prediction is enlarged to the padded image, and the image cut out; False: it is stretched over the
            image, up to half a patch out of place, as in Meta's code, which published figures are made with.

    Raises:
        InputError: If weights cannot be had, or head and backbone do not belong together.
    """

    format: ClassVar[HeadFormat]

    def __init__(
        self,
        size: str,
        head: str | None,
        outputs: int | None,
        backbone_weights: str | None,
        pretrained: bool,
        aligned: bool = False,
    ) -> None:
        super().__init__()
        self.aligned = aligned
        self.backbone = load_backbone(size, backbone_weights, pretrained)
        if head is None:
            if outputs is None:
                raise InputError("head is null, so nothing tells the number of classes. Set classes.")
            self._add_head(1, outputs)
            return
        state = self.format.read(head, size)
        layers = self.format.count_layers(state, self.backbone.embed_dim, head)
        self._add_head(layers, len(state[self.format.weight]) if outputs is None else outputs)
        load_strictly(self.head, state, head)

    backbone: "VisionTransformer"
    head: nn.Module
    layers: list[int]
    """The layers of the backbone that the head reads, in this order."""

    def _add_head(self, layers: int, outputs: int) -> None:
        self.layers = self._choose_layers(layers)
        self.head = self._build_head(self.format.inputs[layers] * self.backbone.embed_dim, outputs)

    @abstractmethod
    def _build_head(self, inputs: int, outputs: int) -> nn.Module:
        """Return the head, with the names of the official files."""

    def _choose_layers(self, count: int) -> list[int]:
        depth = len(self.backbone.blocks)
        return list(range(depth - count, depth))

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """The backbone's own configuration, with its mean and std."""
        return cast(dict[str, Any], getattr(self.backbone, "pretrained_cfg", {}))

    def _features(self, image: Tensor, norm: bool) -> list[tuple[Tensor, Tensor]]:
        """Return patch tokens `[B, D, h, w]` and class token `[B, D]` of each layer that the head reads.

        Args:
            image: Normalised, `[B, 3, H, W]`.
            norm: Whether the backbone's final norm is applied to every layer.
        """
        vit = self.backbone
        patches = vit.patch_embed(_pad(image))  # (B, h, w, D)
        tokens = torch.cat([vit.cls_token.expand(len(image), -1, -1), patches.flatten(1, 2)], dim=1)
        tokens, kept = tokens + self._positions(*patches.shape[1:3]), []
        for number, block in enumerate(vit.blocks):
            tokens = block(tokens)
            if number in self.layers:
                kept.append(tokens)
        # The norm runs for every head: tasks compare what it returns last, see models/features.py
        normed = [vit.norm(x) for x in kept]
        kept = normed if norm else kept
        return [(x[:, 1:].mT.unflatten(2, patches.shape[1:3]), x[:, 0]) for x in kept]

    def _positions(self, height: int, width: int) -> Tensor:
        """Return positions for a grid of tokens, `[1, 1 + h w, D]`, interpolated as in Meta's code.

        There the scale has an offset of 0.1 and nothing is antialiased, other than in timm.
        """
        positions: Tensor = self.backbone.pos_embed
        side = self.backbone.patch_embed.grid_size[0]
        if height == width == side:
            return positions
        grid = positions[:, 1:].mT.reshape(1, -1, side, side)  # (1, D, side, side)
        scale = ((height + 0.1) / side, (width + 0.1) / side)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        return torch.cat([positions[:, :1], grid.flatten(2).mT], dim=1)

    def _resize(self, dense: Tensor, image: Tensor) -> Tensor:
        """Enlarge a prediction `[B, C, h, w]` for the padded image to the image's `[B, C, H, W]`.

        Meta's code stretches the padded image's prediction over the unpadded one; see `aligned`.
        """
        height, width = image.shape[-2:]
        down, right = (-side % PATCH if self.aligned else 0 for side in (height, width))
        large = F.interpolate(dense, (height + down, width + right), mode="bilinear", align_corners=False)
        top, left = down // 2, right // 2
        return large[..., top : top + height, left : left + width]


def _pad(image: Tensor) -> Tensor:
    """Pad with zeros all around until `PATCH` divides the sides; Meta's `CenterPadding` has no gradient."""
    down, right = (-side % PATCH for side in image.shape[-2:])
    return F.pad(image, (right // 2, right - right // 2, down // 2, down - down // 2))
