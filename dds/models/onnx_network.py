import importlib
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from dds.errors import InputError

warnings.filterwarnings("ignore", message="Using a non-tuple sequence")  # onnx2torch's, against newer torch


def onnx(path: str, scale: float = 1.0) -> nn.Module:
    """Read a network from an ONNX file as a differentiable torch module, by the package onnx2torch.

    Args:
        path: The `.onnx` file.
        scale: What its output is multiplied by, e.g. .01 where depth is in centimetres.

    Raises:
        InputError: If the file or the package is absent, or the file cannot be read.
    """
    network = read_onnx(Path(path).expanduser(), "Export it by torch.onnx.export, or give its path.")
    return network if scale == 1 else nn.Sequential(network, _Times(scale))


class MergedClasses(nn.Module):
    """A classifier, or a segmentation network, whose classes are taken together to those of a data set.

    The logit of a class is the logarithm of the sum of the exponents of those it is made of, so that its
    probability is the sum of theirs; logits of a network's classes that are in none are left out.

    Args:
        model: The network, logits `[B, K, ...]`.
        classes: For each class of the data set, the network's that it is made of.

    Raises:
        InputError: If a class is made of nothing, or the network has none of that number.
    """

    def __init__(self, model: nn.Module, classes: list[list[int]]) -> None:
        super().__init__()
        if not classes or not all(classes) or min(map(min, classes)) < 0:
            raise InputError(
                f"classes={classes}; expected for each class of the data set the numbers, from 0 on, of the "
                "network's classes that it is made of."
            )
        self.model, self.classes = model, classes

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `[B, C, ...]`."""
        logits = self.model(image)
        if (most := max(map(max, self.classes))) >= logits.shape[1]:
            raise InputError(
                f"classes names the network's class {most}, but it has {logits.shape[1]}, from 0 on."
            )
        return torch.stack([logits[:, own].logsumexp(1) for own in self.classes], 1)


def read_onnx(path: Path, remedy: str) -> nn.Module:
    """Read a network as it is in an ONNX file.

    Args:
        path: The file.
        remedy: What to do where there is none.

    Raises:
        InputError: As `onnx`.
    """
    if not path.is_file():
        raise InputError(f"weights file {path} does not exist. {remedy}")
    try:
        onnx2torch = importlib.import_module("onnx2torch")
    except ImportError as error:
        raise InputError("ONNX files are read by onnx2torch. Run: pip install 'dds[onnx]'") from error
    try:
        network: nn.Module = onnx2torch.convert(str(path))
    except Exception as error:  # of protobuf, onnx or onnx2torch, without a common base
        raise InputError(f"{path} cannot be read as ONNX: {error!r}. Download or export it again.") from error
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):  # from opset 17 on onnx2torch 1.5 loses over what it averages
            module.normalized_shape = tuple(module.weight.shape)
    return network


class _Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, output: Tensor) -> Tensor:
        return output * self.factor
