from typing import Literal, get_args

import torch
from torch import Tensor

from dds.attacks.base import one_of, pixels, whole
from dds.attacks.gradient import Weights, expected_gradient
from dds.attacks.objectives.base import Calls, Objective, Value, at
from dds.attacks.optimiser import Optimiser
from dds.errors import InputError
from dds.noise import Streams

Place = Literal["random", "centre", "corner"]

_ROUNDING = 1e-9  # of a share that stands for whole pixels


class Patch(Optimiser):
    """A square of the image that may hold anything, while the rest stays as it is.

    Made for each image by itself (LaVAN: Karmon et al., ICML 2018), from random colours, by steps along the
    sign of the gradient. Where it `moves`, each gradient is taken with the square at other places
    (adversarial patch: Brown et al., arXiv 1712.09665), so that it works wherever it is put: the image that
    is judged has it at one more.

    What it is in Linf and L2 is recorded as of any attack, but is no budget.

    Args:
        side: Of the square, as a share of the image's shorter side, in (0, 1]; rounded down to pixels, and at
            least one.
        place: Where the square is: at a `random` place of each image, in the `centre`, or in the upper left
            `corner`.
        moves: Whether each gradient is taken at other random places; `place` must be `random`.
        step_size: Length of a step in [0, 1] pixel units.
        steps: Number of steps.
        eot: Noise draws, and places where it moves, that each gradient is averaged over; see `PGD`.
        objective: What is maximised; default the task's own loss.
        eot_weights: Which of these draws count for more in a gradient; see `Weights`.
    """

    norm = "patch"

    def __init__(
        self,
        side: float = 0.2,
        place: Place = "random",
        moves: bool = False,
        step_size: float | str = "8/255",
        steps: int = 50,
        eot: int = 1,
        objective: Objective | None = None,
        eot_weights: Weights = "equal",
    ) -> None:
        if not 0 < side <= 1:
            raise InputError(f"side={side}; expected a share of the image's shorter side above 0, up to 1.")
        super().__init__(side, objective, eot_weights)
        one_of("place", place, *get_args(Place))
        if moves and place != "random":
            raise InputError(f"place={place} of a patch that moves; expected random, or moves=false.")
        self.place, self.moves = place, moves
        self.step_size = pixels("step_size", step_size)
        self.steps, self.eot = whole("steps", steps), whole("eot", eot)

    @property
    def calls(self) -> Calls:
        """Steps times draws."""
        return Calls(self.steps * self.eot, self.steps * self.eot)

    def with_one_draw(self) -> "Patch":
        """Return the same with one noise draw, unless its places are drawn, too; see `Attack`."""
        return self if self.moves else super().with_one_draw()

    def spent(self, attacked: Tensor, image: Tensor) -> Tensor:
        """Return the side of the least square that holds all changes, as a share of the shorter; `[B]`."""
        changed = (attacked != image).any(1)  # (B, H, W)
        height, width = _span(changed.any(2)), _span(changed.any(1))
        return torch.maximum(height, width) / min(image.shape[2:])

    def __call__(self, image: Tensor, value: Value, streams: Streams) -> Tensor:
        """Attack `[B, 3, H, W]` images in [0, 1]; see `Optimiser`."""
        side = max(1, int(self.eps * min(image.shape[2:]) + _ROUNDING))
        patch = streams.child("start").uniform(image[:, :, :side, :side])
        corners = self._corners(image, side, streams.child("place"))
        for step in range(self.steps):
            pasted = self._pasted(image, corners, at(value, step / self.steps))
            draws = streams.child("step", step)
            gradient = expected_gradient(patch, pasted, draws, self.eot, self.eot_weights)
            patch = (patch + self.step_size * gradient.sign()).clamp(0, 1)
        return paste(image, patch, corners)

    def _pasted(self, image: Tensor, corners: Tensor, value: Value) -> Value:
        """Return the value of patches: that of the images with them."""

        def of_patch(patch: Tensor, streams: Streams) -> Tensor:
            where = corners
            if self.moves:
                where = self._corners(image, patch.shape[2], streams.child("place"))
            return value(paste(image, patch, where), streams)

        return of_patch

    def _corners(self, image: Tensor, side: int, streams: Streams) -> Tensor:
        """Return row and column of the upper left corners, `[B, 2]`."""
        room = torch.tensor(image.shape[2:]) - side
        if self.place == "random":
            share = streams.uniform(torch.empty(len(image), 2))
            return (share * (room + 1)).long()
        return (room // 2 if self.place == "centre" else 0 * room).expand(len(image), 2)


def paste(image: Tensor, patch: Tensor, corners: Tensor) -> Tensor:
    """Put a patch into each image.

    Args:
        image: `[B, 3, H, W]`.
        patch: `[B, 3, h, w]`, through which gradients pass.
        corners: `[B, 2]` row and column of each one's upper left corner.

    Returns:
        `[B, 3, H, W]`
    """
    height, width = patch.shape[2:]
    pasted = image.clone()
    for place, (row, column) in enumerate(corners.tolist()):
        pasted[place, :, row : row + height, column : column + width] = patch[place]
    return pasted


def _span(marked: Tensor) -> Tensor:
    """Return how far it is from the first mark to the last, both counted, `[B]` of `[B, N]`; 0 of none."""
    count = marked.shape[1]
    upwards = torch.arange(1, count + 1, device=marked.device)
    last, first = (marked * upwards).amax(1), (marked * upwards.flip(0)).amax(1)
    return (last + first - count).clamp(min=0)
