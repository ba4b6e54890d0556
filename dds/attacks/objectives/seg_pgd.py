from torch import Tensor

from dds.attacks.objectives.label_objective import Labels
from dds.attacks.objectives.pixel_objective import PixelObjective, cross_entropy, right


class SegPGD(PixelObjective):
    """The loss of SegPGD (Gu et al., ECCV 2022, arXiv 2207.12391, algorithm 1), for segmentation.

    The cross-entropy of right pixels has the weight 1 - l, that of wrong ones l = i / 2T in step i of T, from
    0 on: the attack first turns right pixels wrong, and in the end also keeps them so. Averaged over the
    labelled pixels; `PixelObjective` says how points are compared.
    """

    def losses(self, logits: Tensor, labels: Labels, progress: float) -> Tensor:
        """Return the weighted cross-entropies, `[B, N]`."""
        wrong_weight = progress / 2
        hit = right(logits, labels).to(logits)
        return (hit * (1 - wrong_weight) + (1 - hit) * wrong_weight) * cross_entropy(logits, labels)
