from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from dds.attacks.base import whole
from dds.attacks.gradient import project
from dds.attacks.objectives.base import AttackedTask, Calls, Purify, Value
from dds.attacks.objectives.pullback import Pullback
from dds.attacks.optimiser import Optimiser
from dds.attacks.sia import SIA
from dds.batch import Batch
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.noise import Streams
from dds.numbers import plain

_GREY = 0.5  # where an attack begins that knows perturbations as images
_WIDEST = 0.25  # radius in the attack's own units, so that twice as much still fits in [0, 1]


class LowFrequency(Optimiser):
    """Lets an attack search coarse perturbations alone, as what is fine is what purifiers remove.

    A perturbation has a value for each `scale` x `scale` pixels, and is brought to the image's size by
    bilinear interpolation, so that little of it is above `1 / scale` cycles a pixel (but what is cut off at 0
    and 1). In Linf, the interpolated values lie between the coarse ones. In L2, they are combined so that
    lengths stay (the interpolation's nearest isometry). In both, what is in the attack's ball stays in it.

    With several scales, each adds to what the one before has found. It starts there and not at random, and
    in a ball of twice the radius, so that it can undo; the sum is brought back to the ball as a projected
    step is, so that the gradient at pixels beyond it is that at its surface.

    Args:
        attack: What searches: `PGD`, `APGD`, `MIFGSM`, `Square`. Its eps, norm, objective and number of noise
            draws are those of the whole; its restarts are meant for one scale.
        scales: Pixels along each side that share a value, from coarse to fine, e.g. `[8, 4, 1]`; 1 alone is
            the attack as it is.

    Raises:
        InputError: If the attack is another, or there is no scale.
    """

    def __init__(self, attack: Optimiser, scales: Sequence[int] = (4,)) -> None:
        fits = isinstance(attack, Optimiser) and attack.norm in ("linf", "l2")
        if not fits or isinstance(attack, SIA | LowFrequency):
            raise InputError(
                f"attack={type(attack).__name__}; expected one that knows only points and their values: PGD, "
                "APGD, MIFGSM or Square."
            )
        given = plain(scales)
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            raise InputError(f"scales={given!r}; expected a list of whole numbers of pixels, e.g. [8, 4, 1].")
        super().__init__(attack.eps, attack.objective, attack.eot_weights)
        self.attack, self.scales = attack, tuple(whole("scales", scale) for scale in given)
        self.norm, self.eot = attack.norm, attack.eot

    @property
    def needs_gradient(self) -> bool:
        """Whether the attack does."""
        return self.attack.needs_gradient

    @property
    def calls(self) -> Calls:
        """The attack's, at each scale."""
        return self.attack.calls * len(self.scales)

    def with_one_draw(self) -> Self:
        """Return the same of the attack with one noise draw; see `Attack`."""
        once = super().with_one_draw()
        once.attack = self.attack.with_one_draw()
        return once

    def identity(self) -> str:
        """Return that of the attack."""
        return self.attack.identity()

    def prepare(self, data: BaseDataModule) -> None:
        """Let the attack prepare itself; see `Attack`."""
        self.attack.prepare(data)

    def check(self, task: AttackedTask, batch: Batch) -> None:
        """Let the attack check, and compare scales with the image; see `Attack`."""
        self._check_scales(batch["image"])
        self.attack.check(task, batch)

    def __call__(self, image: Tensor, value: Value, streams: Streams) -> Tensor:
        """Attack `[B, 3, H, W]` images in [0, 1]; see `Optimiser`."""
        self._check_scales(image)
        if self.scales == (1,):
            return self.attack(image, value, streams)
        found = image
        for place, scale in enumerate(self.scales):
            own = streams.child("scale", place)
            found = self._refine(found, image, scale, place, value, own)
        return found

    def _refine(
        self, found: Tensor, image: Tensor, scale: int, place: int, value: Value, streams: Streams
    ) -> Tensor:
        """Add to the images that the scales before have found."""
        attack, unit = self._attack_in_units(further=place > 0)
        enlarge = enlarger(image, scale, self.norm)
        hold = partial(project, image=image, eps=self.eps, norm=self.norm) if place else _in_range

        def make(point: Tensor) -> Tensor:
            return straight_through(found + enlarge((point - _GREY) * unit), hold)

        course = (place / len(self.scales), (place + 1) / len(self.scales))
        size = [-(-side // scale) for side in image.shape[2:]]
        grey = image.new_full((*image.shape[:2], *size), _GREY)
        point = attack(grey, Pullback(value, make, course=course), streams)
        with torch.no_grad():
            return project(make(point), image, self.eps, self.norm)

    def _attack_in_units(self, further: bool) -> tuple[Optimiser, float]:
        """Return the attack with lengths that fit in grey images, and how many pixel units one of it is."""
        unit = max(1.0, self.eps / _WIDEST)
        attack = copy(self.attack)
        attack.eps = attack.eps / unit * (2 if further else 1)
        if hasattr(attack, "step_size"):
            attack.step_size /= unit
        if further:
            attack.random_start = False
        return attack, unit

    def _bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        return self.attack._bind(task, batch, purify)

    def _check_scales(self, image: Tensor) -> None:
        side = min(image.shape[2:])
        if max(self.scales) > side:
            raise InputError(
                f"scales={list(self.scales)}, but images have {image.shape[2]} x {image.shape[3]} pixels; "
                f"expected at most {side}."
            )


def enlarger(image: Tensor, scale: int, norm: str) -> Callable[[Tensor], Tensor]:
    """Return the interpolation to an image's size of what has a value for each `scale` x `scale` pixels.

    Args:
        image: `[B, 3, H, W]`.
        scale: From 1 to the shorter side.
        norm: `linf`: bilinear; `l2`: the isometry nearest to it.

    Returns:
        From `[B, 3, ceil(H / scale), ceil(W / scale)]` to `[B, 3, H, W]`, linear.
    """
    rows, columns = (_interpolation(side, scale, norm).to(image) for side in image.shape[2:])
    return lambda coarse: rows @ coarse @ columns.mT


def _interpolation(side: int, scale: int, norm: str) -> Tensor:
    """Return the matrix that takes ceil(side / scale) values along a side to all, float64."""
    few = -(-side // scale)
    each = torch.eye(few, dtype=torch.float64)
    matrix = F.interpolate(each[None], size=side, mode="linear")[0].T  # (side, few)
    if norm == "l2":
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        matrix = left @ right
    return matrix


def straight_through(point: Tensor, hold: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what `hold` makes of a point, with a gradient as if it left the point where it is."""
    return hold(point).detach() + (point - point.detach())


def _in_range(image: Tensor) -> Tensor:
    return image.clamp(0, 1)
