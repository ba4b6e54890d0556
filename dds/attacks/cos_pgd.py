import torch
from torch import Tensor

from dds.attacks.label_objective import Labels
from dds.attacks.pixel_objective import PixelObjective, cross_entropy


class CosPGD(PixelObjective):
    """The loss of CosPGD (Agnihotri et al., ICML 2024), for segmentation.

    Each pixel's cross-entropy is weighted by the cosine similarity between the predicted probabilities and
    the true class as one-hot; no gradient flows through the weight (github.com/shashankskagnihotri/cospgd,
    `cospgd_scale`). Averaged over the labelled pixels; `PixelObjective` says how points are compared.

    For regression the authors take the cosine over a pixel's channels, after a softmax. Depth has one channel
    and so always a cosine of 1: there CosPGD is the task's own loss, and is not offered under another name.
    """

    def losses(self, logits: Tensor, labels: Labels, progress: float) -> Tensor:
        """Return the weighted cross-entropies, `[B, N]`."""
        probability = logits.detach().softmax(1)  # (B, C, N)
        true = probability.gather(1, labels.classes.unsqueeze(1)).squeeze(1)  # (B, N)
        weight: Tensor = true / torch.linalg.vector_norm(probability, dim=1)
        return weight * cross_entropy(logits, labels)
