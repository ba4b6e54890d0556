"""The losses of the Segmentation Ensemble Attack, SEA (Croce et al., ECCV 2024, arXiv 2306.12941).

SEA runs APGD with `schedule: sea` on each of the three and takes the worst for each image (`WorstOf`).
`PixelObjective` says how points are compared.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dds.attacks.objectives.label_objective import Labels
from dds.attacks.objectives.pixel_objective import PixelObjective, cross_entropy, right
from dds.errors import InputError


class MaskedCrossEntropy(PixelObjective):
    """SEA's mask-CE: the cross-entropy of the pixels that are still right."""

    def losses(self, logits: Tensor, labels: Labels, progress: float) -> Tensor:
        """Return the cross-entropies, 0 for wrong pixels, `[B, N]`."""
        return right(logits, labels) * cross_entropy(logits, labels)


class BalancedMaskedCrossEntropy(MaskedCrossEntropy):
    """SEA's mask-CE-balanced: mask-CE with a weight for each true class, which drives mIoU down.

    Args:
        class_weights: A weight of each class. The authors use each data set's inverse class frequencies;
            default: each image's own, one over its number of pixels of the class.
    """

    def __init__(self, class_weights: Sequence[float] | None = None) -> None:
        if class_weights is not None and not all(0 <= weight < math.inf for weight in class_weights):
            raise InputError(f"class_weights={list(class_weights)}; expected finite numbers of at least 0.")
        self.class_weights = class_weights

    def losses(self, logits: Tensor, labels: Labels, progress: float) -> Tensor:
        """Return the weighted cross-entropies, 0 for wrong pixels, `[B, N]`."""
        weights = self._weights(logits, labels).gather(1, labels.classes)
        return weights * super().losses(logits, labels, progress)

    def _weights(self, logits: Tensor, labels: Labels) -> Tensor:
        size, classes, _ = logits.shape
        if self.class_weights is None:
            pixels = logits.new_zeros(size, classes).scatter_add(1, labels.classes, labels.known.to(logits))
            return 1 / pixels.clamp(min=1)  # (B, C)
        if len(self.class_weights) != classes:
            raise InputError(
                f"class_weights has {len(self.class_weights)} numbers; expected {classes}, one a class."
            )
        return logits.new_tensor(self.class_weights).expand(size, classes)


class JensenShannon(PixelObjective):
    """SEA's JS: the Jensen-Shannon divergence between predicted probabilities and the true class as one-hot.

    With p the probability of the true class it is log 2 + (p log p - (1 + p) log(1 + p)) / 2: bounded, and
    its gradient vanishes where a pixel is already wrong for sure.
    """

    def losses(self, logits: Tensor, labels: Labels, progress: float) -> Tensor:
        """Return the divergences, `[B, N]` in nats, from 0 to log 2."""
        log_p = -cross_entropy(logits, labels)
        p = log_p.exp()
        return math.log(2) + (p * log_p - (1 + p) * torch.log1p(p)) / 2
