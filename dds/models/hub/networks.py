"""Models of transformers as the tasks know networks: images in [0, 1] in, one tensor out."""

from inspect import signature
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dds.errors import InputError
from dds.models.answers import answer_of
from dds.models.hub.preprocessing import Preprocessing

_SMALLEST = 1e-12  # of a class's score, before the logarithm


class HubNetwork(nn.Module):
    """A model of transformers behind its own image processor; its answer is that of `answer_of`.

    Args:
        network: The model.
        preprocessing: What its image processor does.
    """

    normalisation: ClassVar = (0.0, 1.0)
    normalises_itself: ClassVar = True

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, image: Tensor) -> Tensor:
        """Return the model's answer to images `[B, 3, H, W]` in [0, 1]."""
        return answer_of(self.network(**self.preprocessing(image)))


class HubMasks(HubNetwork):
    """MaskFormer and Mask2Former: classes and masks of queries, summed to a score of each class and pixel.

    The score of a class is the sum over queries of its probability times the mask's (Cheng et al., NeurIPS
    2021, section 3.4); the logit is its logarithm, so that cross-entropy normalises the scores.

    Args:
        network: The model.
        preprocessing: What its image processor does.
        size: Height and width that masks are enlarged to before they are summed; default: as they are.
    """

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(network, preprocessing)
        self.size = size

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `[B, C, H, W]` of images `[B, 3, H, W]` in [0, 1]."""
        found: Any = self.network(**self.preprocessing(image))
        masks = found.masks_queries_logits  # (B, Q, h, w)
        if self.size is not None:
            masks = F.interpolate(masks, self.size, mode="bilinear", align_corners=False)
        classes = found.class_queries_logits.softmax(-1)[..., :-1]  # (B, Q, C), without "no object"
        scores = torch.einsum("bqc,bqhw->bchw", classes, masks.sigmoid())
        scores = F.interpolate(scores, image.shape[-2:], mode="bilinear", align_corners=False)
        return (scores + _SMALLEST).log()


class HubDepth(HubNetwork):
    """A depth model, its map brought to the image's size as its image processor does.

    Args:
        network: The model.
        preprocessing: What its image processor does.
        relative: Whether it tells depth but for an unknown scale and shift, mostly as inverse depth.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, relative: bool) -> None:
        super().__init__(network, preprocessing)
        self.relative = relative

    def forward(self, image: Tensor) -> Tensor:
        """Return depth `[B, 1, H, W]` of images `[B, 3, H, W]` in [0, 1]."""
        found = self.network(**self.preprocessing(image))
        bring = self.preprocessing.processor.post_process_depth_estimation
        sizes = [tuple(image.shape[-2:])] * len(image)
        padded = {"source_sizes": sizes} if "source_sizes" in signature(bring).parameters else {}
        maps = bring(found, target_sizes=sizes, **padded)
        return torch.stack([one["predicted_depth"] for one in maps])[:, None]


class HubFeatures(HubNetwork):
    """One descriptor an image: what the model pools by itself, else its first token, that of the class.

    A model of image and text (CLIP, SigLIP) describes an image where texts are.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Return `[B, F]` of images `[B, 3, H, W]` in [0, 1]."""
        inputs = self.preprocessing(image)
        if hasattr(self.network, "get_image_features"):
            return image_features(self.network, inputs)
        found: Any = self.network(**inputs)
        pooled = getattr(found, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)  # type: ignore[no-any-return]
        tokens = found.last_hidden_state
        if tokens.ndim != 3:
            raise InputError(
                f"{type(self.network).__name__} returns {tuple(tokens.shape)}, neither pooled nor a token "
                "for each place; expected one of them. Pool it by dds.models.GeM."
            )
        return tokens[:, 0]  # type: ignore[no-any-return]


def image_features(network: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Return `[B, F]`, where a model of image and text puts images among texts."""
    return answer_of(network.get_image_features(pixel_values=inputs["pixel_values"]))
