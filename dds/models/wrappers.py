"""Seeing the network in what is wrapped around it."""

from collections.abc import Iterator

from lightning.pytorch import LightningModule
from torch import nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

_HANDING_ON = (nn.DataParallel, DistributedDataParallel, AveragedModel)
_HANDING_ON_BY_NAME = ("timm.utils.model_ema", "lightning.fabric.wrappers")


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside what hands images on to it as they are.

    Such are `DataParallel`, `DistributedDataParallel`, networks made by `torch.compile` (into which hooks do
    not reach), averages of weights (torch's, timm's), Fabric's, and an `nn.Sequential` of one.
    """
    inner = _inner(network)
    return network if inner is None else unwrapped(inner)


def _inner(network: nn.Module) -> nn.Module | None:
    if isinstance(network, OptimizedModule):
        return network._orig_mod
    if isinstance(network, nn.Sequential) and len(network) == 1:
        return network[0]
    if isinstance(network, _HANDING_ON) or type(network).__module__ in _HANDING_ON_BY_NAME:
        return network.module  # type: ignore[return-value]
    return None


def nested(network: nn.Module) -> Iterator[nn.Module]:
    """Yield a network, then the one that it is all made of, if there is such a one, and so on.

    What a LightningModule has beside its network is losses and metrics, which have no weights.
    """
    yield network
    parts = list(network.children())
    if isinstance(network, LightningModule):
        parts = [part for part in parts if next(part.parameters(), None) is not None]
    if len(parts) == 1:
        yield from nested(parts[0])
