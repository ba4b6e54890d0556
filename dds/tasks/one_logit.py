import torch
from torch import Tensor


def two_logits(output: Tensor) -> Tensor:
    """Turn the one logit of a binary network into the logits of classes 0 and 1.

    They are 0 and the logit itself: their softmax is its sigmoid, their cross-entropy the binary one, and the
    likelier class is 1 from above 0 on. So whatever speaks of classes (attacks, metrics) needs no other case.

    Args:
        output: `[B, C, ...]`; it is returned as it is unless C is 1.
    """
    return torch.cat([torch.zeros_like(output), output], dim=1) if output.shape[1] == 1 else output
