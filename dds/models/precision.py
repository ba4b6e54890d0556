import torch
from torch import nn

from dds.errors import InputError


def to_precision(network: nn.Module, dtype: torch.dtype) -> None:
    """Have a network of fewer bits compute in those of the images: attacks need them.

    Args:
        network: Any network.
        dtype: float32, or float64 for a trainer that works in double.

    Raises:
        InputError: If the network has more bits, which would be lost.
    """
    kinds = {value.dtype for value in network.state_dict().values() if value.is_floating_point()}
    if any(torch.finfo(kind).bits > torch.finfo(dtype).bits for kind in kinds):
        raise InputError(
            f"{type(network).__name__} holds {torch.float64} weights; an evaluation computes in {dtype}. "
            "Call its .float(), or evaluate with trainer.precision=64-true (precision='64-true' from Python)."
        )
    network.to(dtype)
