from torch import Tensor
from torch.nn import functional as F

from dds.attacks.objectives.label_objective import LabelObjective, Labels


class PixelObjective(LabelObjective):
    """An objective for segmentation whose gradient and value part ways.

    The losses that a subclass gives are climbed. They are no measure of success: a masked loss falls as
    pixels turn wrong, and weights that change from step to step make steps incomparable. Where an optimiser
    compares points (APGD's progress) it therefore sees the mean cross-entropy over the labelled pixels, as in
    SEA's code (github.com/nmndeep/Robust-Segmentation, `track_loss="ce-avg"`). What the answer is chosen by
    is a setting of the optimiser; see `best` of `PGD`.
    """

    serves = ("mask",)

    def value(self, logits: Tensor, labels: Labels, progress: float) -> Tensor:
        """Return the mean cross-entropy, `[B]`, with the gradient of the mean of `losses`."""
        climbed = labels.mean(self.losses(logits, labels, progress))
        compared = labels.mean(cross_entropy(logits, labels)).detach()
        return compared + (climbed - climbed.detach())


def cross_entropy(logits: Tensor, labels: Labels) -> Tensor:
    """Return the cross-entropy of each pixel, `[B, N]`, for logits `[B, C, N]`."""
    return F.cross_entropy(logits, labels.classes, reduction="none")


def right(logits: Tensor, labels: Labels) -> Tensor:
    """Return which pixels, `[B, N]`, the network gets right."""
    return logits.argmax(1) == labels.classes
