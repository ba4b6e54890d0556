"""Weights of guided-diffusion under the names and in the layout of diffusers' `UNet2DModel`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import Downsample2D, ResnetBlock2D, Upsample2D
from torch import Size, Tensor, nn

from dds.errors import InputError
from dds.models.weights import read_weights

_LAYERS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding": "label_emb",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
"""Layers outside the blocks: diffusers' name and the original one."""

_BLOCK_LAYERS: dict[type[nn.Module], dict[str, str]] = {
    ResnetBlock2D: {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    },
    Attention: {
        "group_norm": "norm",
        "to_q": "qkv",
        "to_k": "qkv",
        "to_v": "qkv",
        "to_out.0": "proj_out",
    },
    Downsample2D: {"conv": "op"},
    Upsample2D: {"conv": "conv"},
}
"""Layers inside a block, likewise."""

_QKV = ("to_q", "to_k", "to_v")

_SYMPTOMS = (
    (r"^time_embed\S+ is \[", "num_channels"),
    (r"in_layers\.2\.weight is \[", "channel_mult, or the image_size that it follows from"),
    (r"label_emb", "class_cond"),
    (r"\.op\.", "resblock_updown"),
    (r"qkv", "attention_resolutions"),
    (r"emb_layers", "use_scale_shift_norm"),
    (r"^out\.2", "learn_sigma"),
)
"""What a difference looks like and the flag behind it; a wrong flag may show the symptoms below it too."""

_SHOWN = 6  # differences in an error message


def load_guided_diffusion(network: UNet2DModel, path: str | Path, use_new_attention_order: bool) -> None:
    """Load a guided-diffusion checkpoint, every tensor of it, into a network of the same architecture.

    Args:
        network: Built by `guided_diffusion`; its attention layers know their number of heads.
        path: The checkpoint, a flat state dict with the original names.
        use_new_attention_order: Rows of `qkv` are ordered [q, k, v][head][channel], else [head][q, k, v]...

    Raises:
        InputError: If the file cannot be read, or a name or shape differs; it says which flag to check.
    """
    state, parameters = read_weights(path), network.state_dict()
    names = dict(_original_names(network))
    _check(path, state, {names[ours]: _original_shape(names[ours], parameters[ours].shape) for ours in names})
    for ours, theirs in names.items():
        value = _of_one_layer(network, ours, state[theirs], use_new_attention_order)
        parameters[ours] = value.reshape(parameters[ours].shape)  # a 1D convolution becomes a linear layer
    network.load_state_dict(parameters)


def _original_names(network: UNet2DModel) -> Iterator[tuple[str, str]]:
    """Yield each parameter's name and the name of the original parameter that it comes from."""
    layers = dict(_LAYERS)
    for ours, theirs in _blocks(network):
        inside = _BLOCK_LAYERS[type(network.get_submodule(ours))]
        layers |= {f"{ours}.{layer}": f"{theirs}.{original}" for layer, original in inside.items()}
    for name in network.state_dict():
        layer, _, kind = name.rpartition(".")
        yield name, f"{layers[layer]}.{kind}"


def _blocks(network: UNet2DModel) -> Iterator[tuple[str, str]]:
    """Yield each block's name and its original one; the original numbers them in the order they run."""
    down: list[list[str]] = [[]]  # row 0 is the first convolution
    up: list[list[str]] = []
    for level, block in enumerate(network.down_blocks):
        down += _rows(f"down_blocks.{level}", block)
        if block.downsamplers is not None:
            down.append([f"down_blocks.{level}.downsamplers.0"])
    for level, block in enumerate(network.up_blocks):
        up += _rows(f"up_blocks.{level}", block)
        if block.upsamplers is not None:
            up[-1].append(f"up_blocks.{level}.upsamplers.0")
    middle = ["resnets.0", "attentions.0", "resnets.1"]
    yield from ((f"mid_block.{name}", f"middle_block.{place}") for place, name in enumerate(middle))
    for half, rows in (("input_blocks", down), ("output_blocks", up)):
        for number, row in enumerate(rows):
            yield from ((name, f"{half}.{number}.{place}") for place, name in enumerate(row))


def _rows(name: str, block: nn.Module) -> list[list[str]]:
    kinds = ["resnets", "attentions"] if hasattr(block, "attentions") else ["resnets"]
    count = len(list(block.get_submodule("resnets").children()))
    return [[f"{name}.{kind}.{i}" for kind in kinds] for i in range(count)]


def _original_shape(name: str, shape: Size) -> list[int]:
    rows = 3 * shape[0] if ".qkv." in name else shape[0]
    kernel = [1] if name.endswith(("qkv.weight", "proj_out.weight")) else []  # 1D convolutions
    return [rows, *shape[1:], *kernel]


def _of_one_layer(network: UNet2DModel, ours: str, value: Tensor, use_new_attention_order: bool) -> Tensor:
    """Take the rows that belong to `to_q`, `to_k` or `to_v` out of `qkv`; other tensors stay whole."""
    attention, _, layer = ours.rpartition(".")[0].rpartition(".")
    if layer not in _QKV:
        return value
    heads = network.get_submodule(attention).heads
    if use_new_attention_order:
        parts = value.reshape(3, heads, -1, *value.shape[1:])
    else:
        parts = value.reshape(heads, 3, -1, *value.shape[1:]).transpose(0, 1)
    return parts[_QKV.index(layer)].flatten(0, 1)  # (3, heads, C / heads, ...) -> (C, ...)


def _check(path: str | Path, state: Mapping[str, Tensor], expected: Mapping[str, list[int]]) -> None:
    differences = list(_differences(state, expected))
    if differences:
        more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise InputError(
            f"{path} does not fit the flags given: {'; '.join(differences[:_SHOWN])}{more}. "
            f"Check {_suspect(state, expected, differences)} first."
        )


def _differences(state: Mapping[str, Tensor], expected: Mapping[str, list[int]]) -> Iterator[str]:
    for name, shape in expected.items():
        if name not in state:
            yield f"{name} is missing"
        elif list(state[name].shape) != shape:
            yield f"{name} is {list(state[name].shape)}, expected {shape}"
    yield from (f"{name} is unknown" for name in state if name not in expected)


def _suspect(state: Iterable[str], expected: Iterable[str], differences: list[str]) -> str:
    """Name the flag that most likely does not belong to the weights."""
    if not set(state) & set(expected):
        return "whether this is a checkpoint of guided-diffusion's UNetModel"
    if _input_rows(state) != _input_rows(expected):
        return "num_res_blocks and channel_mult (or the image_size that it follows from)"
    found = (flag for pattern, flag in _SYMPTOMS if any(re.search(pattern, line) for line in differences))
    return next(found, "the flags")


def _input_rows(names: Iterable[str]) -> set[str]:
    return {".".join(name.split(".")[:2]) for name in names if name.startswith("input_blocks.")}
