from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from dds.batch import NO_CLASS
from dds.metrics.resampled import Resampled


def count_pixels(decision: Tensor, mask: Tensor, classes: int, ignored: int) -> dict[str, Tensor]:
    """Count, for each image, the pixels of each class.

    Args:
        decision: `[B, H, W]` int64 class of each pixel, or `NO_CLASS`.
        mask: `[B, H, W]` int64, the true class, or `ignored`.
        classes: C, how many there are.
        ignored: The label of pixels that count in nothing.

    Returns:
        `intersection`, `predicted`, `labelled`: `[B, C]` int64, pixels of the class in both, in the
        decision, in the mask.
    """
    decision = decision.where(decision != NO_CLASS, classes)  # a class of its own, which no mask has
    pairs = zip(decision, mask, strict=True)
    matrices = torch.stack(
        [
            multiclass_confusion_matrix(*pair, classes + 1, ignore_index=ignored, validate_args=False)
            for pair in pairs
        ]
    )  # (B, C + 1, C + 1) of truth x decision
    counts = {
        "intersection": matrices.diagonal(dim1=1, dim2=2),
        "predicted": matrices.sum(1),
        "labelled": matrices.sum(2),
    }
    return {name: count[:, :classes] for name, count in counts.items()}


def intersection_over_union(intersection: Tensor, predicted: Tensor, labelled: Tensor) -> Tensor:
    """Average the IoU over the classes that occur in the decision or in the mask.

    Args:
        intersection: `[..., C]` pixels of the class in both.
        predicted: `[..., C]` in the decision.
        labelled: `[..., C]` in the mask.

    Returns:
        `[...]`; 0 where no class occurs.
    """
    union = predicted + labelled - intersection
    return (intersection / union.clamp(min=1)).sum(-1) / (union > 0).sum(-1).clamp(min=1)


class JaccardIndex(Resampled):
    """mIoU over a data set: of one count of each class, averaged over the classes that occur.

    As torchmetrics' `MulticlassJaccardIndex`, whose `[C, C]` matrices 1 + R data sets have no room for.

    Example:
        >>> metric = JaccardIndex()
        >>> predicted, labelled = torch.tensor([[2, 1, 0]]), torch.tensor([[3, 1, 0]])
        >>> metric.update(torch.tensor([0]), intersection=predicted, predicted=predicted, labelled=labelled)
        >>> metric.compute()
        tensor(0.8333, dtype=torch.float64)
    """

    intersection: Tensor
    predicted: Tensor
    labelled: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_sums("intersection", "predicted", "labelled", shape=(1,))

    def update(self, index: Tensor, intersection: Tensor, predicted: Tensor, labelled: Tensor) -> None:
        """Add images by their counts, `[B, C]` each; see `count_pixels`."""
        self.add(index, intersection=intersection, predicted=predicted, labelled=labelled)

    def compute(self) -> Tensor:
        """Return the mIoU on each data set, `[1 + R]`."""
        return intersection_over_union(self.intersection, self.predicted, self.labelled)


class PixelAccuracy(Resampled):
    """The share of a data set's labelled pixels whose class is right."""

    right: Tensor
    pixels: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_sums("right", "pixels")

    def update(self, index: Tensor, intersection: Tensor, labelled: Tensor) -> None:
        """Add images by their counts, `[B, C]` each; see `count_pixels`."""
        self.add(index, right=intersection.sum(1), pixels=labelled.sum(1))

    def compute(self) -> Tensor:
        """Return the share on each data set, `[1 + R]`; 0 where there is no pixel."""
        return self.right / self.pixels.clamp(min=1)
