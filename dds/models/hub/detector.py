"""Detectors of transformers, called like torchvision's."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision.ops import box_convert

from dds.coco_ids import COCO_IDS
from dds.errors import InputError
from dds.models.hub.networks import HubNetwork
from dds.models.hub.preprocessing import Preprocessing

Target = Mapping[str, Tensor]


class HubDetector(HubNetwork):
    """DETR, YOLOS, RT-DETR and their like behind their own image processor.

    Args:
        network: The model.
        preprocessing: What its image processor does.
        labels: The data set's class for each of the model's; default: COCO's ids of a model of COCO, with
            their gaps or without; of any other, its classes counted from 1.
    """

    categories: Tensor

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, labels: list[int] | None = None
    ) -> None:
        super().__init__(network, preprocessing)
        categories = _categories(network.config, labels)
        self.register_buffer("categories", torch.tensor(categories), persistent=False)

    def forward(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:  # type: ignore[override]
        """Detect.

        Args:
            images: Each `[3, H, W]` in [0, 1], all of one size.

        Returns:
            For each image `boxes` `[N, 4]` (x1, y1, x2, y2 in its pixels), `labels` `[N]`, `scores` `[N]`.
        """
        found = self.network(**self.preprocessing(torch.stack(list(images))))
        sizes = [tuple(image.shape[-2:]) for image in images]
        bring = self.preprocessing.processor.post_process_object_detection
        detected = bring(found, threshold=0.0, target_sizes=sizes)
        return [{**one, "labels": self.categories[one["labels"]]} for one in detected]

    def image_losses(self, images: Tensor, targets: Sequence[Target]) -> Tensor:
        """Return the loss that the model is trained with, on each image by itself, `[B]`.

        It is the weighted sum of its losses of classes and boxes; the error of the number of boxes, which the
        model only reports (`cardinality_error`), is no part of it. In evaluation mode gradients
        also pass where the model's training cuts them off.

        Args:
            images: `[B, 3, H, W]` in [0, 1].
            targets: For each image `boxes` `[N, 4]` in its pixels and `labels` `[N]` of the data set.

        Raises:
            InputError: If a label is none of the model's.
        """
        pairs = zip(images, targets, strict=True)
        return torch.stack([self._loss(image[None], target).reshape(()) for image, target in pairs])

    def _loss(self, image: Tensor, target: Target) -> Tensor:
        height, width = image.shape[-2:]
        size = target["boxes"].new_tensor([width, height, width, height])
        boxes = box_convert(target["boxes"] / size, "xyxy", "cxcywh").to(image)
        labels = [{"class_labels": self._classes(target["labels"]), "boxes": boxes}]
        with _by_default(image.dtype), nullcontext() if self.training else _NothingCutOff():
            found: Any = self.network(**self.preprocessing(image), labels=labels)
        return found.loss  # type: ignore[no-any-return]

    def _classes(self, labels: Tensor) -> Tensor:
        same = labels[:, None] == self.categories  # (N, C)
        if not same.any(1).all():
            strange = sorted(set(labels[~same.any(1)].tolist()))
            raise InputError(
                f"labels {strange} are none of the network's {len(self.categories)} classes "
                f"({_few(self.categories.tolist())}). Set labels to the data set's class for each of its own."
            )
        return same.int().argmax(1)


class _NothingCutOff(TorchFunctionMode):
    """Lets gradients through where RT-DETR and its like cut them off.

    Boxes of one layer are where the next begins; training leaves that out to be stable, and attacks that did
    so would hardly see how to move a box.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.detach:
            return args[0]
        weight = (kwargs := dict(kwargs or {})).get("weight")
        if func is F.binary_cross_entropy_with_logits and weight is not None and weight.requires_grad:
            return func(*args, **{**kwargs, "weight": None}) * weight  # as torch has no gradient for it
        return func(*args, **kwargs)


@contextmanager
def _by_default(dtype: torch.dtype) -> Iterator[None]:
    """Have transformers weigh classes in this precision, too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _categories(config: Any, labels: list[int] | None) -> list[int]:
    """Return the data set's class for each of a model's."""
    names = [str(config.id2label.get(place, "")).lower() for place in range(config.num_labels)]
    if labels is not None:
        if len(labels) != len(names):
            raise InputError(
                f"labels has {len(labels)} entries; expected {len(names)}, one for each of the network's "
                f"classes ({_few(names)})."
            )
        return list(labels)
    if len(names) == len(COCO_IDS) and names[0] == "person":
        return list(COCO_IDS)
    if len(names) == COCO_IDS[-1] + 1 and names[1] == "person":
        return list(range(len(names)))  # 0 and the gaps are never found
    return list(range(1, len(names) + 1))


def _few(values: list[Any]) -> str:
    return ", ".join(map(str, [*values[:4], *["…"] * (len(values) > 4)]))
