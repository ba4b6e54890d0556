"""Networks are lent: what an evaluation changes, it undoes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

_BEFORE = "_before_rest"
"""Attribute by which `at_rest` remembers the mode of a module, and which of its weights wanted gradients."""


def at_rest(network: nn.Module) -> nn.Module:
    """Have a network infer, its weights frozen, until `as_found` has given it back."""
    for part in network.modules():
        vars(part).setdefault(_BEFORE, _mode(part))
    return network.eval().requires_grad_(False)


@contextmanager
def as_found(*networks: nn.Module) -> Iterator[None]:
    """Leave networks afterwards as they were, also after an error; of those at rest, before that.

    Kept are their mode, type, device, buffers, own `forward`, gradients, and which weights want some.

    Args:
        networks: Whatever is lent to an evaluation.
    """
    parts = dict.fromkeys(part for network in networks for part in network.modules())
    with ExitStack() as stack:
        for part in parts:
            stack.callback(_restoration(part))
        yield


def _mode(part: nn.Module) -> tuple[bool, list[bool]]:
    return part.training, [weight.requires_grad for weight in part._parameters.values() if weight is not None]


def _restoration(part: nn.Module) -> Callable[[], None]:
    """Return what brings a module, without its children, back to how it is now."""
    training, wanted = vars(part).pop(_BEFORE, None) or _mode(part)
    forward = vars(part).get("forward")
    weights = [weight for weight in part._parameters.values() if weight is not None]
    values = [(one.data, None if one.grad is None else one.grad.clone()) for one in weights]
    buffers = [(name, buffer, buffer.clone()) for name, buffer in part._buffers.items() if buffer is not None]

    def restore() -> None:
        part.training = training
        for weight, wants, (data, gradient) in zip(weights, wanted, values, strict=True):
            weight.grad = None  # which must be of the weight's type
            weight.data, weight.grad = data, gradient
            weight.requires_grad_(wants)
        for name, buffer, content in buffers:
            part._buffers[name] = buffer.copy_(content)
        vars(part).pop("forward", None)
        if forward is not None:
            part.forward = forward

    return restore
