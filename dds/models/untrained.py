from torch import Tensor, nn

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def is_untrained(network: nn.Module) -> bool:
    """Tell whether all norm layers of a network, of which there are some, are as they begin.

    Training moves every one of them, so that the weights beside them must be random.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, _NORMS)]
    values = [(name, value) for norm in norms for name, value in norm.state_dict(keep_vars=True).items()]
    return bool(values) and all(_begins(name, value.detach()) for name, value in values)


def _begins(name: str, value: Tensor) -> bool:
    if name in ("bias", "running_mean", "num_batches_tracked"):
        return not value.any()
    return bool((value == 1).all() or (name == "weight" and not value.any()))  # some begin with 0
