from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import nn


@contextmanager
def as_found(*networks: nn.Module) -> Iterator[None]:
    """Leave networks afterwards as they were: mode, gradients wanted, type, device, buffers, own `forward`.

    Args:
        networks: Whatever is lent to an evaluation; also after an error.
    """
    parts = dict.fromkeys(part for network in networks for part in network.modules())
    with ExitStack() as stack:
        for part in parts:
            stack.callback(_restoration(part))
        yield


def _restoration(part: nn.Module) -> Callable[[], None]:
    """Return what brings a module, without its children, back to how it is now."""
    training, forward = part.training, vars(part).get("forward")
    weights = [
        (weight, weight.data, weight.requires_grad, None if weight.grad is None else weight.grad.clone())
        for weight in part._parameters.values()
        if weight is not None
    ]
    buffers = [(name, buffer, buffer.clone()) for name, buffer in part._buffers.items() if buffer is not None]

    def restore() -> None:
        part.training = training
        for weight, data, wanted, gradient in weights:
            weight.grad = None  # which must be of the weight's type
            weight.data, weight.grad = data, gradient
            weight.requires_grad_(wanted)
        for name, buffer, content in buffers:
            part._buffers[name] = buffer.copy_(content)
        vars(part).pop("forward", None)
        if forward is not None:
            part.forward = forward

    return restore
