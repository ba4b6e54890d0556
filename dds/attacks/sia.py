import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dds.attacks.base import whole
from dds.attacks.gradient import Weights
from dds.attacks.mi_fgsm import MIFGSM
from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Value
from dds.batch import Batch
from dds.errors import InputError
from dds.noise import Streams

Operation = Callable[[Tensor, Tensor], Tensor]
"""From a block `[C, h, w]` and uniform numbers of that shape, used as far as needed, to a block like it."""


class SIA(MIFGSM):
    """Structure invariant attack (Wang et al., ICCV 2023, arXiv 2309.14700), Linf.

    MI-FGSM whose gradient is averaged over transformed copies of the image: random cuts make blocks, and
    each block goes through one random operation. The operations are those of the authors' code
    (github.com/xiaosen-wang/SIT); unlike there, each image of a batch has cuts and operations of its own,
    and `resize` makes a block 0.8 times as high and as wide: their slip is to swap the two in between. A
    copy may leave [0, 1] a little. Copies go through the network one at a time, which bounds memory.

    Blocks move pixels but not labels. For dense tasks an objective on pooled features is therefore the
    meaningful one; the task's own loss compares moved pixels with the labels of their old places.

    Args:
        eps: Budget in [0, 1] pixel units, e.g. `8/255`.
        step_size: Length of a step in the same units; default `eps / steps`.
        steps: Number of steps.
        decay: How much of the momentum is kept; mu in the paper.
        copies: Transformed copies in a step, at least 1; 20 in the authors' code.
        blocks: Blocks along each axis, from 1 to the image's shorter side in pixels.
        operations: Names from `OPERATIONS`, or a set: `official` is all ten of the authors' code,
            `transferattack` the seven of the TransferAttack library (no `resize`, `dct` or `dropout`).
        eot: Noise draws that the gradient at each copy is averaged over; see `PGD`.
        objective: What is maximised; default the task's own loss.
        eot_weights: Which of the noise draws count for more in a gradient; see `Weights`.

    Raises:
        InputError: If an operation is unknown or a number is out of range.
    """

    def __init__(
        self,
        eps: float | str = "8/255",
        step_size: float | str | None = None,
        steps: int = 10,
        decay: float = 1.0,
        copies: int = 20,
        blocks: int = 3,
        operations: Sequence[str] | Literal["official", "transferattack"] = "official",
        eot: int = 1,
        objective: Objective | None = None,
        eot_weights: Weights = "equal",
    ) -> None:
        super().__init__(eps, step_size, steps, decay, eot, objective, eot_weights)
        self.copies, self.blocks = whole("copies", copies), whole("blocks", blocks)
        self.operations = _known(operations)

    @property
    def calls(self) -> Calls:
        """Steps times copies times draws."""
        return super().calls * self.copies

    def check(self, task: AttackedTask, batch: Batch) -> None:
        """Evaluate the objective and transform once; see `Attack`."""
        super().check(task, batch)
        self.transform(batch["image"], Streams(0, (0,)))

    def transform(self, image: Tensor, streams: Streams) -> Tensor:
        """Return one transformed copy of each image, `[B, C, H, W]`, differentiable in the images.

        Raises:
            InputError: If an image has fewer pixels along a side than `blocks`.
        """
        size, (height, width) = len(image), image.shape[-2:]
        if self.blocks > min(height, width):
            raise InputError(f"blocks={self.blocks}; expected at most {min(height, width)} (pixels a side).")
        rows = _cuts(size, height, self.blocks, streams.child("rows"))
        columns = _cuts(size, width, self.blocks, streams.child("columns"))
        chosen = streams.child("operations").uniform(torch.empty(size, self.blocks**2)).tolist()
        numbers = streams.child("numbers").uniform(torch.empty(image.shape))  # (B, C, H, W), on the CPU
        each = zip(image, numbers, rows, columns, chosen, strict=True)
        return torch.stack([self._transform(*one) for one in each])

    def _transform(
        self, image: Tensor, numbers: Tensor, rows: list[int], columns: list[int], chosen: list[float]
    ) -> Tensor:
        parts = zip(_cut(image, rows, columns), _cut(numbers, rows, columns), chosen, strict=True)
        done = [self._operation(number)(block, own) for block, own, number in parts]
        strips = [torch.cat(done[i : i + self.blocks], 2) for i in range(0, len(done), self.blocks)]
        return torch.cat(strips, 1)  # (C, H, W)

    def _operation(self, number: float) -> Operation:
        return OPERATIONS[self.operations[int(number * len(self.operations))]]

    def _gradient(self, adversarial: Tensor, value: Value, streams: Streams) -> Tensor:
        gradient = torch.zeros_like(adversarial)
        for copy in range(self.copies):
            own = streams.child("copy", copy)
            gradient += super()._gradient(adversarial, partial(self._value, value, own), own)
        return gradient / self.copies

    def _value(self, value: Value, copy: Streams, image: Tensor, draw: Streams) -> Tensor:
        return value(self.transform(image, copy), draw)


def _known(operations: Sequence[str]) -> tuple[str, ...]:
    sets = {"official": tuple(OPERATIONS), "transferattack": TRANSFERATTACK}
    names = sets.get(operations, (operations,)) if isinstance(operations, str) else tuple(operations)
    if not names or set(names) - set(OPERATIONS):
        known = ", ".join((*sets, *OPERATIONS))
        raise InputError(f"operations={operations!r}; expected one or more of {known}.")
    return names


def _cuts(size: int, length: int, blocks: int, streams: Streams) -> list[list[int]]:
    """For each of `size` images, draw `blocks - 1` different places inside a side, in order."""
    order = streams.uniform(torch.empty(size, length - 1))  # one number a place between two pixels
    cuts: list[list[int]] = (order.topk(blocks - 1).indices + 1).sort().values.tolist()
    return cuts


def _cut(image: Tensor, rows: list[int], columns: list[int]) -> list[Tensor]:
    """Cut `[C, H, W]` into blocks `[C, h, w]`, row by row."""
    return [block for strip in image.tensor_split(rows, 1) for block in strip.tensor_split(columns, 2)]


def _resize(block: Tensor, numbers: Tensor) -> Tensor:
    smaller = [int(0.8 * side) + 1 for side in block.shape[1:]]
    small = F.interpolate(block[None], smaller, mode="bilinear")
    return F.interpolate(small, block.shape[1:], mode="bilinear")[0]


def _roll(block: Tensor, numbers: Tensor, dim: int) -> Tensor:
    return block.roll(int(numbers[0, 0, 0].item() * block.shape[dim]), dim)


def _noise(block: Tensor, numbers: Tensor) -> Tensor:
    return (block + (2 * numbers - 1).to(block) * 16 / 255).clamp(0, 1)


def _dct(block: Tensor, numbers: Tensor) -> Tensor:
    rows, columns = (_low_cosines(side, block) for side in block.shape[1:])
    return rows.T @ (rows @ block @ columns.T) @ columns


def _low_cosines(side: int, like: Tensor) -> Tensor:
    """Return the orthonormal DCT-II matrix of a side without its top 40 % of frequencies, `[K, side]`."""
    frequency = torch.arange(side - int(0.4 * side), device=like.device, dtype=like.dtype)
    place = torch.arange(side, device=like.device, dtype=like.dtype) + 0.5
    cosines = math.sqrt(2 / side) * torch.cos(math.pi / side * frequency[:, None] * place)
    cosines[0] /= math.sqrt(2)
    return cosines


def _dropout(block: Tensor, numbers: Tensor) -> Tensor:
    return block * (numbers[:, :1, :1] >= 0.1).to(block) / 0.9


OPERATIONS: dict[str, Operation] = {
    "resize": _resize,
    "vertical_shift": partial(_roll, dim=1),
    "horizontal_shift": partial(_roll, dim=2),
    "vertical_flip": lambda block, numbers: block.flip(1),
    "horizontal_flip": lambda block, numbers: block.flip(2),
    "rotate180": lambda block, numbers: block.flip(1, 2),
    "scale": lambda block, numbers: block * numbers[0, 0, 0].to(block),
    "noise": _noise,
    "dct": _dct,
    "dropout": _dropout,
}
"""The ten of the authors' code, with its constants."""

TRANSFERATTACK = tuple(name for name in OPERATIONS if name not in ("resize", "dct", "dropout"))
