"""What a network returns, read in one place."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dds.errors import InputError

_NAMES = ("logits", "out", "predicted_depth", "pooler_output")
"""Entries that hold the answer, in the words of transformers and torchvision; the first that is there."""


def answer_of(output: Any) -> Tensor:
    """Return the tensor that a network answers with.

    Args:
        output: A tensor; a mapping or an object with an entry `logits`, `out`, `predicted_depth` or
            `pooler_output`, or a mapping of one tensor; or a tuple or list whose first entry is a tensor.

    Raises:
        InputError: If it is anything else, naming what came.
    """
    if isinstance(output, Tensor):
        return output
    for name in _NAMES:
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    several = list(output.values()) if isinstance(output, Mapping) else output
    first = several[0] if isinstance(several, list | tuple) and several else None
    if isinstance(first, Tensor) and not (isinstance(output, Mapping) and len(several) > 1):
        return first
    raise InputError(
        f"the network returns a {type(output).__name__}{_described(output)}; expected a tensor, a tuple "
        f"whose first entry is one, or an entry named {', '.join(_NAMES[:-1])} or {_NAMES[-1]}. Wrap it in a "
        "module that returns the answer alone."
    )


def _described(output: Any) -> str:
    if isinstance(output, Mapping):
        return f" with {', '.join(map(str, output)) or 'nothing'}"
    if isinstance(output, list | tuple):
        return f" of {', '.join(type(one).__name__ for one in output) or 'nothing'}"
    return ""
