"""The heads that Meta published for DINOv2 (Oquab et al., TMLR 2024), as files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.serialization import safe_globals

from dds.errors import InputError
from dds.models.download import cached
from dds.models.weights import read_weights

URL = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{size}14/dinov2_vit{size}14_{name}_head.pth"

WIDTHS = {"s": 384, "b": 768, "l": 1024, "g": 1536}
"""Channels of a token, by the backbone's size."""


class _Number:
    """What a number of numpy's is read as: its value is not used, so none of numpy's code need run for it."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


NUMPY_NUMBERS: list[Any] = [
    (_Number, name)
    for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")
]
"""What such numbers are pickled by; the depth heads' files hold some beside the weights, in a log."""


@dataclass(frozen=True)
class HeadFormat:
    """How the heads of one task are stored.

    Attributes:
        names: The official heads: `<name>` in `dinov2_vits14_<name>_head.pth`.
        weight: The entry whose shape is `[outputs, inputs, ...]`.
        inputs: What a head reads, in units of the backbone's width, by the number of layers it reads.
    """

    names: tuple[str, ...]
    weight: str
    inputs: Mapping[int, int]

    def read(self, head: str, size: str) -> dict[str, Tensor]:
        """Read an official head by its name, or any head of the same layout by its path.

        Args:
            head: One of `names`, or the path of a file.
            size: The backbone's size, a key of `WIDTHS`.

        Raises:
            InputError: If there is no such head, it cannot be had, or it is one for another task.
        """
        with safe_globals(NUMPY_NUMBERS):
            file = read_weights(self._locate(head, size))
        entries = file.get("state_dict", file)
        state = {name.removeprefix("decode_head."): value for name, value in entries.items()}
        if self.weight not in state:
            raise InputError(
                f"head {head} has no {self.weight!r} but {', '.join(sorted(state)[:8])}: it is for another "
                f"task. Official heads for this one: {', '.join(self.names)}."
            )
        return state

    def count_layers(self, state: Mapping[str, Tensor], width: int, head: str) -> int:
        """Return how many layers of a backbone a head reads.

        Args:
            state: What `read` returned.
            width: Channels of the backbone's tokens.
            head: What the user called the head, for the message.

        Raises:
            InputError: If the head is for a backbone of another width; the message says which.
        """
        inputs = state[self.weight].shape[1]
        for layers, factor in self.inputs.items():
            if inputs == factor * width:
                return layers
        fitting = [n for n, other in WIDTHS.items() if inputs in self._possible_inputs(other)]
        remedy = f"It belongs to size {' or '.join(fitting)}." if fitting else "Check that the file is whole."
        raise InputError(
            f"head {head} reads {inputs} channels, but the backbone's width is {width}; expected "
            f"{' or '.join(map(str, self._possible_inputs(width)))} channels. {remedy}"
        )

    def _locate(self, head: str, size: str) -> Path:
        if head in self.names:
            return cached(URL.format(size=size, name=head))
        path = Path(head).expanduser()
        if not path.is_file():
            raise InputError(
                f"head {head!r} is neither a file nor one of {', '.join(self.names)}. Give one of these "
                "names, the path of a file, or null for a head to be trained."
            )
        return path

    def _possible_inputs(self, width: int) -> list[int]:
        return [factor * width for factor in self.inputs.values()]
