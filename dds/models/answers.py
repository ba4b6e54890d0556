"""What a network returns, read in one place."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dds.errors import InputError

_NAMES = ("logits", "out", "predicted_depth", "image_embeds", "pooler_output", "last_hidden_state")
"""Entries that hold the answer, in the words of transformers and torchvision; the first that is there."""


def answer_of(output: Any) -> Tensor:
    """Return the tensor that a network answers with.

    Args:
        output: A tensor; a mapping or an object with an entry `logits`, `out`, `predicted_depth`,
            `image_embeds`, `pooler_output` or `last_hidden_state`, or a mapping of one tensor; or a tuple or
            list whose first entry is a tensor.

    Raises:
        InputError: If it is anything else, or holds no floating-point numbers, naming what came.
    """
    found = next(_answers(output), None)
    if found is None:
        raise InputError(
            f"the network returns a {type(output).__name__}{_described(output)}; expected a tensor, a tuple "
            f"whose first entry is one, or an entry named {', '.join(_NAMES[:-1])} or {_NAMES[-1]}. Wrap it "
            "in a module that returns the answer alone (models of transformers: dds.models.huggingface)."
        )
    if not found.is_floating_point():
        raise InputError(
            f"the network returns {found.dtype} values, as after argmax; expected floating-point logits, "
            "depths or descriptors, through which attacks have a gradient. Return what comes before."
        )
    return found


def detections_of(output: Any, images: int) -> Sequence[Mapping[str, Tensor]]:
    """Return what a detector found on each image, as torchvision's detectors say it.

    Args:
        output: A list with a mapping for each image: `boxes` `[N, 4]`, `labels` `[N]`, `scores` `[N]`.
        images: How many there are.

    Raises:
        InputError: If it is anything else, naming what came.
    """
    is_list = isinstance(output, list | tuple) and all(isinstance(one, Mapping) for one in output)
    if is_list and len(output) == images and all(map(_is_detection, output)):
        return output  # type: ignore[no-any-return]
    first = f", its first a {type(output[0]).__name__}{_described(output[0])}" if is_list and output else ""
    raise InputError(
        f"the network returns a {type(output).__name__}{_described(output)}{first} for {images} images; "
        "expected for each image boxes [N, 4], labels [N] and scores [N], as torchvision's detectors return "
        "them. Wrap it in a module that does (models of transformers: dds.models.huggingface)."
    )


def losses_of(output: Any) -> Mapping[str, Tensor]:
    """Return the losses that a detector in training mode says, tensors by name.

    Raises:
        InputError: If it says anything else, naming what came.
    """
    if isinstance(output, Mapping) and output and all(isinstance(one, Tensor) for one in output.values()):
        return output
    raise InputError(
        f"in training mode, with targets, the network returns a {type(output).__name__}{_described(output)}; "
        "expected losses by name, as torchvision's detectors return them: attacks climb their sum. "
        "Wrap it in a module that does."
    )


def _answers(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    for name in _NAMES:
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            yield found
    several = list(output.values()) if isinstance(output, Mapping) else output
    first = several[0] if isinstance(several, list | tuple) and several else None
    if isinstance(first, Tensor) and not (isinstance(output, Mapping) and len(several) > 1):
        yield first


def _is_detection(found: Mapping[str, Any]) -> bool:
    if not all(isinstance(found.get(name), Tensor) for name in ("boxes", "labels", "scores")):
        return False
    count = tuple(found["scores"].shape)
    return len(count) == 1 and found["labels"].shape == count and found["boxes"].shape == (*count, 4)


def _described(output: Any) -> str:
    if isinstance(output, Mapping):
        return f" with {', '.join(map(str, output)) or 'nothing'}"
    if isinstance(output, list | tuple):
        kinds = [type(one).__name__ for one in output[:4]] + ["…"] * (len(output) > 4)
        return f" of {', '.join(kinds) or 'nothing'}"
    names = [name for name in getattr(output, "__dict__", {}) if not name.startswith("_")]
    return f" with {', '.join(names)}" if names and not isinstance(output, torch.nn.Module) else ""
