"""Objectives on how far the true class is ahead of the others."""

import torch
from torch import Tensor

from dds.attacks.objectives.label_objective import LabelObjective, Labels, need_classes

_TINY = 1e-12
"""Keeps a quotient finite where all logits are equal."""


class Margin(LabelObjective):
    """The largest wrong logit minus the true one: positive where the network errs.

    It is f_6 of Carlini & Wagner (S&P 2017) for an attack without a target, and without their floor at
    0. For segmentation, the mean over labelled pixels.
    """

    def losses(self, logits: Tensor, labels: Labels, progress: float) -> Tensor:
        """Return the margins, `[B, N]`."""
        return margins(logits, labels.classes)


class DLR(LabelObjective):
    """Difference of logits ratio (Croce & Hein, ICML 2020, eq. 6): the margin over z_1 - z_3, sorted falling.

    Unlike the cross-entropy it does not change when the logits are scaled. For segmentation, the mean over
    labelled pixels. Needs at least 3 classes.
    """

    def losses(self, logits: Tensor, labels: Labels, progress: float) -> Tensor:
        """Return the ratios, `[B, N]`, at most 1."""
        need_classes("DLR", logits, 3)
        first, _, third = logits.topk(3, dim=1).values.unbind(1)  # (B, N) each
        return margins(logits, labels.classes) / (first - third + _TINY)


def margins(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the largest logit of another class minus that of the class.

    Args:
        logits: `[B, C, N]`.
        classes: `[B, N]`.

    Returns:
        `[B, N]`.
    """
    chosen = classes.unsqueeze(1)  # (B, 1, N)
    others = logits.scatter(1, chosen, -torch.inf).amax(1)
    return others - logits.gather(1, chosen).squeeze(1)


def targeted_dlr(logits: Tensor, classes: Tensor, targets: Tensor) -> Tensor:
    """Return the targeted DLR (Croce & Hein, ICML 2020, eq. 7), (z_t - z_y) / (z_1 - (z_3 + z_4) / 2).

    Args:
        logits: `[B, C, N]`, at least 4 classes.
        classes: `[B, N]`, y.
        targets: `[B, N]`, t.

    Returns:
        `[B, N]`.
    """
    need_classes("the targeted DLR", logits, 4)
    first, _, third, fourth = logits.topk(4, dim=1).values.unbind(1)
    target, true = (logits.gather(1, one.unsqueeze(1)).squeeze(1) for one in (targets, classes))
    return (target - true) / (first - (third + fourth) / 2 + _TINY)
