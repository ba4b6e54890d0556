from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Purify, Value
from dds.batch import Batch
from dds.errors import InputError
from dds.models.features import find_layer, last, outputs_of, seen_last
from dds.noise import Streams
from dds.tasks import BaseTask


class FeatureDistance(Objective):
    """Drive the features of the seen image away from those of the clean image; needs no label.

    At the clean image itself the gradient is zero: without a purifier, use an optimiser with a random start.

    Args:
        layer: Name of a layer inside the task's network, e.g. `encoder.model.layer4` or `norm`
            (`[name for name, _ in model.named_modules()]` lists them); default: the layer whose features the
            task compares, see `BaseTask`.
        distance: `cosine`: minus the cosine similarity; `l2`: the squared distance, a mean over features.
        pooled: Compare the mean over positions instead of each position; meaningful also where an attack
            moves pixels (SIA). `[B, N, D]` is pooled over N, `[B, D, H, W]` over H and W. Of several
            outputs, the last is taken.
        reference: The features of the `clean` image as it is, or `purified` with the same noise: then the
            attack is on what the purifier lets through, and means nothing without one.
        of: A task of any kind whose network's features stand in for those of the attacked task, which is then
            not called at all; default: the attacked task.
    """

    def __init__(
        self,
        layer: str | None = None,
        distance: Literal["cosine", "l2"] = "cosine",
        pooled: bool = False,
        reference: Literal["clean", "purified"] = "clean",
        of: BaseTask | None = None,
    ) -> None:
        self.layer, self.distance, self.pooled = layer, distance, pooled
        self.reference, self.of = reference, of
        self.needs_purifier = reference == "purified"

    @property
    def surrogates(self) -> Mapping[str, BaseTask]:
        """The task that stands in."""
        return {} if self.of is None else {"stand-in": self.of}

    def bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        """Return the distance to the features of the reference."""
        task = self.of or task
        layer = self._layer_of(task)
        with torch.no_grad():
            clean = None if self.needs_purifier else self._features(task, layer, batch["image"])

        def value(image: Tensor, streams: Streams) -> Tensor:
            with torch.no_grad():
                reference = clean
                if reference is None:
                    reference = self._features(task, layer, purify(batch["image"], streams))
            seen = self._features(task, layer, purify(image, streams))
            if self.distance == "cosine":
                return -F.cosine_similarity(seen, reference, dim=1)
            return (seen - reference).square().mean(1)

        return value

    def task_calls(self, evaluations: Calls) -> Calls:
        """The features of the clean image take one more forward, those of the purified one each time."""
        return evaluations + Calls(evaluations.forward if self.needs_purifier else 1)

    def purifier_calls(self, evaluations: Calls) -> Calls:
        """The clean image is purified too where that is the reference, without a gradient."""
        return evaluations + Calls(evaluations.forward if self.needs_purifier else 0)

    def _layer_of(self, task: AttackedTask) -> nn.Module:
        layer = task.feature_layer if self.layer is None else find_layer(task.model, self.layer)
        if layer is None:
            raise InputError(
                f"FeatureDistance knows no features of {type(task.model).__name__}; name a layer of it by "
                "task.features or the objective's layer."
            )
        return layer

    def _features(self, task: AttackedTask, layer: nn.Module, image: Tensor) -> Tensor:
        with outputs_of(layer) as caught:
            task(image)
        name = self.layer or "the default of the task"
        features = last(seen_last(caught, name))
        if features is None:
            raise InputError(f"layer {name!r} returns no tensor. Name another, by task.features or layer.")
        if self.pooled and features.ndim == 4:
            features = features.mean((2, 3))
        elif self.pooled and features.ndim == 3:
            features = features.mean(1)
        return features.flatten(1)  # (B, features)
