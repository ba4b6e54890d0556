import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
warnings.filterwarnings("ignore", message=".*defaults to a non-deterministic algorithm.*")


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Have a GPU compute the same to the bit when asked twice, while the context lasts, as far as torch can.

    Left to itself it adds up in any order, in the gradients of convolutions above all, and an attack that
    takes their sign ends elsewhere. What stays as it is: the gradients of fused attention over long
    sequences, of resizing with antialiasing, of mirrored padding, and of pooling to sizes that do not divide.
    A trainer that is told `deterministic: true` refuses these instead, and is left so. Processors are
    repeatable without.

    Args:
        device: Where the work is done.
    """
    if device.type != "cuda" or torch.are_deterministic_algorithms_enabled():
        yield
        return
    settings: Any = torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings.fill_uninitialized_memory = False  # which only finds mistakes
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        settings.fill_uninitialized_memory = filled
