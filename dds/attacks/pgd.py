from typing import Literal, get_args

import torch
from torch import Tensor

from dds.attacks.base import one_of, pixels, whole
from dds.attacks.gradient import Weights, along, expected_gradient, project, unit
from dds.attacks.look import Look, look
from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Purify, Value, at
from dds.attacks.objectives.judged import Judged
from dds.attacks.optimiser import Optimiser
from dds.batch import Batch
from dds.errors import InputError
from dds.noise import Streams

Best = Literal["score", "pixel_accuracy", "value"]
"""What the best of several points is chosen by."""

_DENSE = ("mask", "depth")  # targets with a value for each pixel


class PGD(Optimiser):
    """Projected gradient descent (Madry et al., ICLR 2018), in the Linf or the L2 ball.

    Linf takes the sign of the gradient, L2 the gradient divided by its norm. The last iterate is the
    answer; with restarts, the best of each image.

    Args:
        eps: Budget in [0, 1] pixel units, e.g. `8/255`.
        step_size: Length of a step in the same units.
        steps: Number of steps.
        norm: `linf` or `l2`.
        random_start: Start from a random point of the ball instead of the image.
        restarts: Number of starts.
        eot: Noise draws that each gradient is averaged over (expectation over transformation,
            Athalye et al., ICML 2018); one where the attacker looks through nothing that is random.
        objective: What is maximised; default the task's own loss.
        best: What the best of several points is chosen by: the task's `score` of the image (mean IoU, RMSE,
            right or wrong), its `pixel_accuracy` (segmentation), or the `value` of the objective; default:
            the score where the task answers for each pixel, since a loss may grow while pixels turn right
            again, and the objective is about these answers; else the value.
        eot_weights: Which of the noise draws count for more in a gradient; see `Weights`.
        momentum: Share of the gradients before that each step takes along, in [0, 1], as in `MIFGSM`.
        shrinking: Shorten the steps evenly, down to one of `step_size / steps`. Behind a random purifier,
            this and momentum even out over steps what `eot` evens out in each of them.
    """

    def __init__(
        self,
        eps: float | str = "8/255",
        step_size: float | str = "2/255",
        steps: int = 20,
        norm: Literal["linf", "l2"] = "linf",
        random_start: bool = True,
        restarts: int = 1,
        eot: int = 1,
        objective: Objective | None = None,
        best: Best | None = None,
        eot_weights: Weights = "equal",
        momentum: float = 0.0,
        shrinking: bool = False,
    ) -> None:
        super().__init__(eps, objective, eot_weights)
        one_of("norm", norm, "linf", "l2")
        if not 0 <= momentum <= 1:
            raise InputError(f"momentum={momentum}; expected a share in [0, 1].")
        self.momentum, self.shrinking = momentum, shrinking
        one_of("best", best or "value", *get_args(Best))
        self.step_size = pixels("step_size", step_size)
        self.steps, self.restarts, self.eot = (
            whole("steps", steps),
            whole("restarts", restarts),
            whole("eot", eot),
        )
        self.norm, self.random_start, self.best = norm, random_start, best

    @property
    def calls(self) -> Calls:
        """Steps times draws, and a last look at each restart where there is a choice."""
        gradients = self.restarts * self.steps * self.eot
        return Calls(gradients + (self.restarts * self.eot if self.restarts > 1 else 0), gradients)

    def __call__(self, image: Tensor, value: Value, streams: Streams) -> Tensor:
        """Attack `[B, 3, H, W]` images in [0, 1]; see `Optimiser`."""
        if self.restarts == 1:
            return self._climb(image, value, streams.child("restart", 0))
        worst = image.new_full((len(image),), -torch.inf)
        best = Look(image, worst, worst, image)
        for restart in range(self.restarts):
            found = self._climb(image, value, streams.child("restart", restart))
            best = best.more_harmful(look(found, value, streams.child("choose"), self.eot, climb=False))
        return best.image

    def _bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        value = super()._bind(task, batch, purify)
        dense = task.target in _DENSE and self.objective.about_answers
        best = self.best or ("score" if dense else "value")
        return value if best == "value" else Judged(value, task, batch, best)

    def _climb(self, image: Tensor, value: Value, streams: Streams) -> Tensor:
        adversarial = self._start(image, streams.child("start")) if self.random_start else image
        course = torch.zeros_like(image)
        for step in range(self.steps):
            now = at(value, step / self.steps)
            draws = streams.child("step", step)
            gradient = expected_gradient(adversarial, now, draws, self.eot, self.eot_weights)
            course = along(course, gradient, self.momentum) if self.momentum else gradient
            size = self.step_size * (1 - step / self.steps if self.shrinking else 1)
            adversarial = project(adversarial + size * self._direction(course), image, self.eps, self.norm)
        return adversarial

    @property
    def _first_radius(self) -> float:
        return self.eps

    def _start(self, image: Tensor, streams: Streams) -> Tensor:
        if self.norm == "linf":
            offset = (2 * streams.uniform(image) - 1) * self._first_radius
        else:  # a random direction, and a radius that makes the ball uniform
            size = image[0].numel()
            share = streams.child("radius").uniform(image[:, :1, :1, :1]) ** (1 / size)
            offset = unit(streams.normal(image)) * share * self._first_radius
        return (image + offset).clamp(0, 1)

    def _direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign() if self.norm == "linf" else unit(gradient)
