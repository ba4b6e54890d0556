import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import nn

_PACKAGES = ("dds", "torch", "lightning", "torchmetrics", "timm", "segmentation-models-pytorch", "diffusers")


def provenance(networks: Mapping[str, nn.Module | None]) -> dict[str, dict[str, str]]:
    """Return the versions of what computes and the SHA-256 of the weights of each network."""
    return {
        "versions": {"python": platform.python_version(), **{name: version_of(name) for name in _PACKAGES}},
        "weights": {name: weights_hash(network) for name, network in networks.items() if network is not None},
    }


def weights_hash(network: nn.Module) -> str:
    """Return the SHA-256 of a network's names, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        bits = value.detach().cpu()
        bits = bits.view(torch.int16) if bits.dtype == torch.bfloat16 else bits  # which numpy does not know
        digest.update(bits.numpy().tobytes())
    return digest.hexdigest()


def version_of(package: str) -> str:
    """Return the version of an installed package; `unknown` of what is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
