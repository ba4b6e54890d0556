import torch
from torch import Tensor

from dds.attacks.objectives.base import AttackedTask, Purify, TaskLoss, Value
from dds.attacks.objectives.label_objective import Labels
from dds.attacks.objectives.pixel_objective import PixelObjective, cross_entropy
from dds.batch import Batch


class CosPGD(PixelObjective):
    """The loss of CosPGD (Agnihotri et al., ICML 2024), for segmentation and depth.

    Each pixel's cross-entropy is weighted by the cosine similarity between the predicted probabilities and
    the true class as one-hot; no gradient flows through the weight (github.com/shashankskagnihotri/cospgd,
    `cospgd_scale`). Averaged over the labelled pixels; `PixelObjective` says how points are compared.

    For regression the authors take the cosine over a pixel's channels, after a softmax. Depth has one channel
    and so a cosine of 1 everywhere: there CosPGD is the task's own loss by definition.
    """

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the loss of the batch's masks or depths."""
        if task.target == "depth":
            return TaskLoss().bind(task, batch, purify)
        return super().bind(task, batch, purify)

    def losses(self, logits: Tensor, labels: Labels, progress: float) -> Tensor:
        """Return the weighted cross-entropies, `[B, N]`."""
        probability = logits.detach().softmax(1)  # (B, C, N)
        true = probability.gather(1, labels.classes.unsqueeze(1)).squeeze(1)  # (B, N)
        weight: Tensor = true / torch.linalg.vector_norm(probability, dim=1)
        return weight * cross_entropy(logits, labels)
