from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from dds.attacks.base import one_of, pixels, whole
from dds.attacks.gradient import Weights, project
from dds.attacks.look import Look, look
from dds.attacks.objectives.base import Calls, Objective, Value, at
from dds.attacks.pgd import PGD, Best
from dds.errors import InputError
from dds.noise import Streams

CHECKPOINTS = (22, 41, 57, 70, 80, 87, 93, 99)
"""When progress is judged, in percent of the steps: p_1 = 22, p_j+1 = p_j + max(p_j - p_j-1 - 3, 6)."""

MOMENTUM = 0.75
"""Share of the new step in [0, 1], the rest repeats the last one; alpha in the paper."""

Hold = Callable[[Tensor], Tensor]
"""From points `[B, 3, H, W]` to points in the ball and in [0, 1]."""


class APGD(PGD):
    """Auto-PGD (Croce & Hein, ICML 2020, algorithm 1): PGD with momentum that sets its own step size.

    Steps start at twice the radius. At each checkpoint, images that rose too seldom, or whose step and best
    value are those of the last checkpoint, halve the step and return to their best point. The answer is the
    best point seen (`best`); behind a random purifier, points are compared as drawn.

    Unlike AutoAttack's code it does not stop at a wrong class, and it takes the paper at its word: rises must
    be fewer than rho times the steps, and are counted from the point that the image returned to. In all else
    than the wrong class, `sea` goes by its own code (github.com/nmndeep/Robust-Segmentation); see `Pace`.

    Args:
        eps: Budget in [0, 1] pixel units, e.g. `8/255`.
        steps: Number of steps; at least 4 for `sea`.
        norm: `linf` or `l2`.
        rho: Share of rising steps, in [0, 1], below which the step is halved.
        random_start: Start from a random point of the (first) ball instead of the image.
        restarts: Number of starts, chosen from as in `PGD`.
        eot: Noise draws that each value and gradient is averaged over; see `PGD`.
        objective: What is maximised; default the task's own loss.
        schedule: `constant` radius, or `sea`: radii of 2, 1.5 and 1 eps for 30, 30 and 40 % of the steps,
            each from the best point of the one before (Croce et al., arXiv 2306.12941), there the one of
            lowest `pixel_accuracy`.
        best: What the answer, and the start of the next stage, is chosen by among the points seen; see `PGD`.
            Steps halve and return by the value, whatever it is.
        eot_weights: Which of the noise draws count for more in a gradient; see `Weights`.
    """

    def __init__(
        self,
        eps: float | str = "8/255",
        steps: int = 20,
        norm: Literal["linf", "l2"] = "linf",
        rho: float = 0.75,
        random_start: bool = True,
        restarts: int = 1,
        eot: int = 1,
        objective: Objective | None = None,
        schedule: Literal["constant", "sea"] = "constant",
        best: Best | None = None,
        eot_weights: Weights = "equal",
    ) -> None:
        first = 2 * pixels("eps", eps)
        super().__init__(eps, first, steps, norm, random_start, restarts, eot, objective, best, eot_weights)
        one_of("schedule", schedule, "constant", "sea")
        whole("steps", steps, least=4 if schedule == "sea" else 1)
        if not 0 <= rho <= 1:
            raise InputError(f"rho={rho}; expected a share in [0, 1].")
        self.rho, self.schedule = rho, schedule

    @property
    def stages(self) -> tuple[tuple[float, int], ...]:
        """Radius, in [0, 1] pixel units, and number of steps of each stage."""
        if self.schedule == "constant":
            return ((self.eps, self.steps),)
        early = self.steps * 3 // 10
        return ((2 * self.eps, early), (1.5 * self.eps, early), (self.eps, self.steps - 2 * early))

    def checkpoints(self, steps: int) -> list[int]:
        """Return after which steps of a stage of so many progress is judged.

        SEA's code counts whole steps between checkpoints, at least one: in short stages it judges oftener.
        """
        if self.schedule == "constant":
            return [-(-percent * steps // 100) for percent in CHECKPOINTS]  # rounded up
        gap, shorter, least = (max(percent * steps // 100, 1) for percent in (22, 3, 6))
        found = [gap]
        while found[-1] < steps:
            gap = max(gap - shorter, least)
            found.append(found[-1] + gap)
        return found

    @property
    def _first_radius(self) -> float:
        return self.stages[0][0]

    @property
    def calls(self) -> Calls:
        """PGD's, and a look at the last point of each stage."""
        return super().calls + Calls(self.restarts * len(self.stages) * self.eot)

    def _climb(self, image: Tensor, value: Value, streams: Streams) -> Tensor:
        best = self._start(image, streams.child("start")) if self.random_start else image
        done = 0
        for stage, (radius, steps) in enumerate(self.stages):
            hold = partial(project, image=image, eps=radius, norm=self.norm)
            values = [at(value, (done + step) / self.steps) for step in range(steps + 1)]
            best = self._ascend(hold(best), hold, 2 * radius, values, streams.child("stage", stage))
            done += steps
        return best

    def _ascend(
        self, start: Tensor, hold: Hold, size: float, values: Sequence[Value], streams: Streams
    ) -> Tensor:
        steps = len(values) - 1
        first = streams.child("step", 0)
        here = before = best = top = look(start, values[0], first, self.eot, weights=self.eot_weights)
        pace = Pace(best.value, size, self.rho, by_code=self.schedule == "sea")
        checkpoints = self.checkpoints(steps)
        for step in range(1, steps + 1):
            moved = self._move(here, before.image, hold, pace.size, MOMENTUM if step > 1 else 1.0)
            draw = streams.child("step", step)
            before, here = here, look(moved, values[step], draw, self.eot, step < steps, self.eot_weights)
            best, top = best.replaced(here.value > best.value, here), top.more_harmful(here)
            pace.count(here.value)
            if step in checkpoints:
                here = here.replaced(pace.slow(best.value), best)
        return top.image

    def _move(self, here: Look, before: Tensor, hold: Hold, size: Tensor, share: float) -> Tensor:
        target = hold(here.image + size.reshape(-1, 1, 1, 1) * self._direction(here.gradient))
        return hold(here.image + share * (target - here.image) + (1 - share) * (here.image - before))


class Pace:
    """The step size of each image, halved at checkpoints (Croce & Hein, ICML 2020, conditions 1 and 2).

    Args:
        value: `[B]`, the values at the start.
        size: First step size, in [0, 1] pixel units.
        rho: Share of rising steps, in [0, 1], below which the step is halved.
        by_code: Go by SEA's code: that share itself is too little, rises are counted from the last step's
            value also where the image returned to a better one, the first step always rises, and condition 2
            waits for the second checkpoint.
    """

    def __init__(self, value: Tensor, size: float, rho: float, by_code: bool = False) -> None:
        self.size = torch.full_like(value, size)  # (B,)
        self._rho, self._by_code = rho, by_code
        self._steps, self._rises = 0, torch.zeros_like(value)  # since the last checkpoint
        self._before = torch.full_like(value, -torch.inf) if by_code else value  # what a step rises from
        self._last_size = torch.zeros_like(value) if by_code else self.size  # at the last checkpoint
        self._last_best = value  # likewise

    def count(self, value: Tensor) -> None:
        """Note the values `[B]` that a step led to."""
        self._steps, self._rises = self._steps + 1, self._rises + (value > self._before)
        self._before = value

    def slow(self, best: Tensor) -> Tensor:
        """Halve the steps of images stuck at best values `[B]`, and return which those are, `[B]`."""
        enough = self._rho * self._steps
        few = self._rises <= enough if self._by_code else self._rises < enough
        stuck = few | ((self.size == self._last_size) & (best == self._last_best))
        self._last_size, self._last_best = self.size, best
        self.size = torch.where(stuck, self.size / 2, self.size)
        self._steps, self._rises = 0, torch.zeros_like(best)
        if not self._by_code:
            self._before = torch.where(stuck, best, self._before)
        return stuck
