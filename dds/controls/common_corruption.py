from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from dds.controls.base import Control
from dds.errors import InputError

Table = Literal["imagenet-c", "tiny-imagenet-c", "cifar-10-c"]
"""Benchmarks of Hendrycks & Dietterich, made for images of 224, 64 and 32 pixels a side."""

Strengths = Mapping[Table, Sequence[float]]
"""For each benchmark the strengths at severity 1 to 5."""


class CommonCorruption(Control):
    """A corruption with the strengths of Hendrycks & Dietterich (ICLR 2019), as in their code.

    Their code (github.com/hendrycks/robustness) ends in 8 bits; here the images stay as exact as they are.

    Args:
        severity: From 1 to 5.
        table: The benchmark whose strengths count; take the one whose images are as large as yours.
    """

    strengths: ClassVar[Strengths]

    def __init__(self, severity: int = 3, table: Table = "imagenet-c") -> None:
        if table not in self.strengths:
            raise InputError(f"table={table!r}; expected one of {', '.join(self.strengths)}.")
        super().__init__(severity, self.strengths[table])
