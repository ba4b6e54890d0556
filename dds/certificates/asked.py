from dataclasses import dataclass
from typing import Literal

Way = Literal["yes or no", "lower bound", "upper bound", "median"]
"""How draws vote on a score: each by yes or no; by what their answers together come to at the worst; or by
its median over draws."""


@dataclass(frozen=True)
class Asked:
    """What is asked of the votes at one noise level.

    Attributes:
        ratios: Radii, in sigma of the level.
        alpha: Probability that what is told of an image at a radius is false, at most.
        selection_draws: How many of the first draws choose an answer, and count in nothing else.
        max_draws: Draws of an image at most, where it is asked by yes or no until it is decided.
    """

    ratios: tuple[float, ...]
    alpha: float
    selection_draws: int
    max_draws: int
