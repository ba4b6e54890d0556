from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork


class _PyramidBackbone(nn.Module):
    """Feature maps of a timm network, mixed by a feature pyramid (Lin et al., CVPR 2017)."""

    def __init__(self, name: str, stages: tuple[int, ...], channels: int, widths: list[int] | None) -> None:
        import timm  # takes seconds to import

        super().__init__()
        options = {"channels": widths} if widths else {}
        self.body = timm.create_model(name, features_only=True, out_indices=stages, **options)
        self.pyramid = FeaturePyramidNetwork(self.body.feature_info.channels(), channels)
        self.out_channels = channels

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return `[B, channels, h, w]` for each stage, finest first."""
        maps = OrderedDict((str(place), value) for place, value in enumerate(self.body(image)))
        return self.pyramid(maps)  # type: ignore[no-any-return]


def small_fcos(
    classes: int,
    size: int = 64,
    backbone: str = "resnet10t",
    widths: list[int] | None = None,
    stages: tuple[int, ...] = (1, 2, 3),
    channels: int = 64,
) -> FCOS:
    """Build torchvision's FCOS (Tian et al., ICCV 2019) on a small timm backbone, for small images.

    Args:
        classes: Number of classes, without the background.
        size: Shorter side that images are resized to.
        backbone: Name of the timm model.
        widths: Its channels at each stage, where it is a ResNet.
        stages: Stages whose feature maps are used; stage i has stride 2^(i + 1).
        channels: Channels of the feature pyramid.
    """
    body = _PyramidBackbone(backbone, stages, channels, widths)
    sizes = tuple((2**stage,) for stage in stages)  # half a stride: FCOS gives a level boxes of 4 to 8 sizes
    anchors = AnchorGenerator(sizes, ((1.0,),) * len(sizes))
    return FCOS(
        body,
        num_classes=classes + 1,
        min_size=size,
        max_size=2 * size,
        anchor_generator=anchors,
        topk_candidates=100,
        detections_per_img=100,
    )
