import torch
from torch import Tensor

from dds.attacks.base import pixels, whole
from dds.attacks.gradient import Weights, along, expected_gradient, project
from dds.attacks.objectives.base import Calls, Objective, Value, at
from dds.attacks.optimiser import Optimiser
from dds.noise import Streams


class MIFGSM(Optimiser):
    """Momentum iterative fast gradient sign method (Dong et al., CVPR 2018, algorithm 1), Linf.

    `g <- decay g + grad / mean|grad|` for each image, then a step along the sign of g.

    Args:
        eps: Budget in [0, 1] pixel units, e.g. `8/255`.
        step_size: Length of a step in the same units; default `eps / steps`.
        steps: Number of steps.
        decay: How much of the momentum is kept; mu in the paper.
        eot: Noise draws that each gradient is averaged over; see `PGD`.
        objective: What is maximised; default the task's own loss.
        eot_weights: Which of the noise draws count for more in a gradient; see `Weights`.
    """

    def __init__(
        self,
        eps: float | str = "8/255",
        step_size: float | str | None = None,
        steps: int = 10,
        decay: float = 1.0,
        eot: int = 1,
        objective: Objective | None = None,
        eot_weights: Weights = "equal",
    ) -> None:
        super().__init__(eps, objective, eot_weights)
        self.steps, self.eot, self.decay = whole("steps", steps), whole("eot", eot), decay
        self.step_size = self.eps / steps if step_size is None else pixels("step_size", step_size)

    @property
    def calls(self) -> Calls:
        """Steps times draws."""
        return Calls(self.steps * self.eot, self.steps * self.eot)

    def __call__(self, image: Tensor, value: Value, streams: Streams) -> Tensor:
        """Attack `[B, 3, H, W]` images in [0, 1]; see `Optimiser`."""
        adversarial, momentum = image, torch.zeros_like(image)
        for step in range(self.steps):
            now = at(value, step / self.steps)
            gradient = self._gradient(adversarial, now, streams.child("step", step))
            momentum = along(momentum, gradient, self.decay)
            adversarial = project(adversarial + self.step_size * momentum.sign(), image, self.eps, "linf")
        return adversarial

    def _gradient(self, adversarial: Tensor, value: Value, streams: Streams) -> Tensor:
        return expected_gradient(adversarial, value, streams, self.eot, self.eot_weights)
