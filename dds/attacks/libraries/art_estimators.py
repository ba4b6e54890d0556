"""What the Adversarial Robustness Toolbox (ART) sees of an image: a classifier, or nothing but a gradient."""

from typing import Any

import numpy as np
import torch
from art.estimators import BaseEstimator, LossGradientsMixin
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from dds.attacks.libraries.one_image import OneImage
from dds.attacks.objectives.base import Value


class SeenClassifier(PyTorchClassifier):  # type: ignore[misc]
    """A classifier through the attacker's eyes; its loss is the objective.

    Args:
        seen: The image.
        value: The objective.
        classes: Number of classes.
    """

    def __init__(self, seen: OneImage, value: Value, classes: int) -> None:
        shape, loss = tuple(seen.image.shape[1:]), nn.CrossEntropyLoss()
        super().__init__(_Network(seen), loss, shape, classes, clip_values=(0.0, 1.0), device_type="cpu")
        self._seen, self._value = seen, value

    def loss_gradient(self, x: Any, y: Any, training_mode: bool = False, **kwargs: Any) -> Any:
        """Return the objective's gradient at `[n, 3, H, W]`; it knows the labels itself."""
        return _gradient(self._seen, self._value, x)


class SeenGradients(LossGradientsMixin, BaseEstimator):  # type: ignore[misc]
    """A task that is no classification through the attacker's eyes: its loss is the objective.

    Args:
        seen: The image.
        value: The objective.
    """

    def __init__(self, seen: OneImage, value: Value) -> None:
        super().__init__(model=None, clip_values=(0.0, 1.0))
        self._seen, self._value = seen, value

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(3, H, W)`."""
        return tuple(self._seen.image.shape[1:])

    def loss_gradient(self, x: Any, y: Any, **kwargs: Any) -> Any:
        """Return the objective's gradient at `[n, 3, H, W]`; it knows the targets itself."""
        return _gradient(self._seen, self._value, x)

    def predict(self, x: Any, **kwargs: Any) -> Any:
        """Refuse: ART would take the prediction for class probabilities."""
        raise NotImplementedError("it asks for class probabilities")

    def fit(self, x: Any, y: Any, **kwargs: Any) -> None:
        """Refuse."""
        raise NotImplementedError("networks under attack are not trained")


class _Network(nn.Module):
    """Keeps the network out of the reach of ART, which puts what it finds on its own device."""

    def __init__(self, seen: OneImage) -> None:
        super().__init__()
        self._seen = seen

    def forward(self, image: Tensor) -> Tensor:
        return self._seen.logits(image.to(self._seen.image)).to(image)


def _gradient(seen: OneImage, value: Value, candidates: Any) -> Any:
    """Return the gradient as ART gave the candidates: as an array or a tensor."""
    found = seen.gradient(torch.as_tensor(candidates).to(seen.image), value)
    return found.cpu().numpy() if isinstance(candidates, np.ndarray) else found.to(candidates)
