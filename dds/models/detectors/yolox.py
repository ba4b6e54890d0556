from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_convert, clip_boxes_to_image

from dds.coco_ids import COCO_IDS
from dds.errors import InputError
from dds.models.detectors.yolox_loss import Prediction, detection_losses
from dds.models.onnx_network import read_onnx

SIDE = 416
"""Side of the network's input."""

STRIDES = (8, 16, 32)
"""Pixels of that input between two neighbouring points, at each of the three scales."""

_GREY = 114

Target = Mapping[str, Tensor]


class YoloX(nn.Module):
    """YOLOX (Ge et al., arXiv 2107.08430) from its ONNX file, called like torchvision's detectors.

    Images are resized to fit 416x416 with their aspect kept, by differentiable operations.

    Args:
        weights: An `.onnx` file from the YOLOX releases, for COCO and with undecoded output.
        score_thresh: Detections below this score are left out.
        nms_thresh: Of two boxes of one class that overlap more than this, the better one is kept.
        detections_per_img: How many detections are kept of an image, the best.

    Raises:
        InputError: If the file or the package `onnx2torch` is absent, or the file holds another network.
    """

    points: Tensor
    strides: Tensor
    categories: Tensor

    def __init__(
        self,
        weights: str,
        score_thresh: float = 0.01,
        nms_thresh: float = 0.65,
        detections_per_img: int = 100,
    ) -> None:
        super().__init__()
        self.network = _read_network(Path(weights).expanduser())
        points, strides = _grid()
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("strides", strides, persistent=False)
        self.register_buffer("categories", torch.tensor(COCO_IDS), persistent=False)
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.detections_per_img = detections_per_img

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> list[dict[str, Tensor]] | dict[str, Tensor]:
        """Detect, or in training mode say how far the network is from the targets.

        Args:
            images: Each `[3, H, W]`, RGB in [0, 1], of any size.
            targets: For training mode: for each image `boxes` `[N, 4]` (x1, y1, x2, y2 in its pixels) and
                `labels` `[N]`, COCO category ids.

        Returns:
            In evaluation mode, for each image `boxes` `[N, 4]` in its pixels, `labels` `[N]` COCO category
            ids and `scores` `[N]`, best first; in training mode the scalars of `detection_losses`, averaged
            over the images.

        Raises:
            InputError: In training mode, if targets are absent or name unknown categories.
        """
        predictions = self._predict(images)
        if not self.training:
            return [self._detect(*pair) for pair in zip(predictions, images, strict=True)]
        if targets is None:
            raise InputError("YoloX got no targets in training mode; give them, or call eval() to detect.")
        losses = [self._losses(*triple) for triple in zip(predictions, images, targets, strict=True)]
        return {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}

    def _predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        """Run the network; boxes are in pixels of its input (section 2.1, anchor-free)."""
        output = self.network(torch.stack([_letterbox(image) for image in images]))  # (B, P, 85)
        centre = (output[..., :2] + self.points) * self.strides
        size = output[..., 2:4].exp() * self.strides
        boxes = box_convert(torch.cat([centre, size], -1), "cxcywh", "xyxy")  # (B, P, 4)
        return [Prediction(*parts) for parts in zip(boxes, output[..., 4], output[..., 5:], strict=True)]

    def _detect(self, found: Prediction, image: Tensor) -> dict[str, Tensor]:
        scores, classes = (found.objectness[:, None] * found.classes).max(1)  # (P,)
        likely = scores >= self.score_thresh
        boxes, scores, classes = found.boxes[likely], scores[likely], classes[likely]
        best = batched_nms(boxes, scores, classes, self.nms_thresh)[: self.detections_per_img]
        in_image = clip_boxes_to_image(boxes[best] / _scale(image), image.shape[-2:])
        return {"boxes": in_image, "labels": self.categories[classes[best]], "scores": scores[best]}

    def _losses(self, found: Prediction, image: Tensor, target: Target) -> dict[str, Tensor]:
        known = target["labels"][:, None] == self.categories  # (N, 80)
        if not known.any(1).all():
            strange = target["labels"][~known.any(1)].tolist()
            raise InputError(f"labels {strange} are no COCO categories; expected ids of 1 to 90, as in COCO.")
        centres = (self.points + 0.5) * self.strides
        return detection_losses(found, target["boxes"] * _scale(image), known.to(found.classes), centres)


def _grid() -> tuple[Tensor, Tensor]:
    """Return each point's column and row, `[P, 2]`, and its stride, `[P, 1]`."""
    grids, strides = [], []
    for stride in STRIDES:
        steps = torch.arange(SIDE // stride, dtype=torch.float32)
        grid = torch.cartesian_prod(steps, steps).flip(1)  # rows first, so x is the second factor
        grids.append(grid)
        strides.append(torch.full((len(grid), 1), float(stride)))
    return torch.cat(grids), torch.cat(strides)


def _scale(image: Tensor) -> float:
    return SIDE / max(image.shape[-2:])


def _letterbox(image: Tensor) -> Tensor:
    """Turn `[3, H, W]` RGB in [0, 1] into `[3, 416, 416]` BGR in 0..255, grey below or to the right."""
    height, width = (max(round(side * _scale(image)), 1) for side in image.shape[-2:])
    # without antialiasing, as OpenCV resized the images that the network was trained on
    resized = F.interpolate(image[None] * 255, (height, width), mode="bilinear")[0]
    return F.pad(resized.flip(0), (0, SIDE - width, 0, SIDE - height), value=_GREY)


def _read_network(path: Path) -> nn.Module:
    """Turn an ONNX file into a network from `[B, 3, 416, 416]` to `[B, 3549, 85]`."""
    network = read_onnx(
        path,
        "Download yolox_nano.onnx or yolox_tiny.onnx from the releases of "
        "github.com/Megvii-BaseDetection/YOLOX, or give its path.",
    )
    _free_batch_size(network)
    _check(network, path)
    return network


def _free_batch_size(network: nn.Module) -> None:
    """Let the reshapes of a graph that was exported for one image keep the batch size (0: as it comes)."""
    for buffer in network.buffers():
        if buffer.tolist() == [1, 5 + len(COCO_IDS), -1]:
            buffer[0] = 0


def _check(network: nn.Module, path: Path) -> None:
    expected = (2, sum((SIDE // stride) ** 2 for stride in STRIDES), 5 + len(COCO_IDS))
    try:
        with torch.no_grad():
            got = tuple(network(torch.zeros(2, 3, SIDE, SIDE)).shape)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(f"{path} does not take a batch of {SIDE}x{SIDE} images: {error}.") from error
    if got != expected:
        raise InputError(
            f"{path} answers {got} to two images of {SIDE}x{SIDE}; expected {expected}: "
            "a YOLOX network for COCO whose output is not decoded, as in the YOLOX releases."
        )
