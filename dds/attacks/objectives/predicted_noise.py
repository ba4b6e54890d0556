from typing import Literal

import torch
from torch import Tensor

from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Purify, Value
from dds.batch import Batch
from dds.noise import Streams


class PredictedNoise(Objective):
    """Drive the noise that a denoiser predicts away from the truth: an attack on the diffusion itself.

    From `x_t = sqrt(abar) x + sqrt(1 - abar) eps` follows that `eps_hat - eps` is `x - x0_hat` times
    `sqrt(abar / (1 - abar))`, a factor of the level alone. So the error of the predicted noise is what
    one-shot purification changes in the image, where that is not clamped; it is computed from the images, and
    so for any purifier.

    Args:
        reference: `added`: the error against the noise that was added; `clean`: the distance to the error on
            the clean image with the same noise, whose gradient there is zero (use a random start).
    """

    needs_purifier = True

    def __init__(self, reference: Literal["added", "clean"] = "added") -> None:
        self.reference = reference

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the mean squared error in [0, 1] pixel units."""
        clean = batch["image"]

        def expected(streams: Streams) -> Tensor:
            if self.reference == "added":
                return torch.zeros_like(clean)
            with torch.no_grad():
                return clean - purify(clean, streams)

        def error(image: Tensor, streams: Streams) -> Tensor:
            change = image - purify(image, streams)
            return (change - expected(streams)).square().mean((1, 2, 3))

        return error

    def task_calls(self, evaluations: Calls) -> Calls:
        """The task is not called."""
        return Calls()

    def purifier_calls(self, evaluations: Calls) -> Calls:
        """With `clean`, the clean image is purified too, without a gradient."""
        times = 2 if self.reference == "clean" else 1
        return Calls(times * evaluations.forward, evaluations.backward)
