from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dds.attacks.base import one_of, pixels
from dds.attacks.libraries.one_image import OneByOne, OneImage
from dds.attacks.objectives.base import AttackedTask, Objective, TaskLoss
from dds.batch import Batch
from dds.errors import InputError
from dds.noise import Streams

_NORMS = {"linf": np.inf, "l2": 2}
_OURS = ("self", "estimator", "classifier", "eps", "norm", "targeted", "verbose", "summary_writer")
_TOWARDS_LABELS = ("SaliencyMapMethod",)  # takes labels for targets without calling itself targeted


class ArtAttack(OneByOne):
    """Any evasion attack of the Adversarial Robustness Toolbox, ART (Nicolae et al., arXiv 1807.01069).

    For classification, any attack away from the true label: it is shown logits, the true label and the
    objective's gradient, all through the attacker's view. For other tasks, those that need the gradient
    alone, such as `FastGradientMethod`, `BasicIterativeMethod` and `ProjectedGradientDescent`.

    Images are attacked one by one (see `OneImage`). How often that calls the networks shows only as the
    attack goes on.

    Args:
        attack: Class path, e.g. `art.attacks.evasion.SquareAttack`.
        eps: Budget in [0, 1] pixel units, e.g. `8/255`; handed to attacks that have one. Every result is
            projected onto it, so an attack without a budget (DeepFool, HopSkipJump) succeeds where the
            perturbation that it finds fits, and is cut short elsewhere.
        norm: `linf` or `l2`; likewise.
        options: The attack's other arguments; fractions such as `2/255` are read as numbers.
        objective: What the loss gradient is of; default the task's own loss. One that changes as an attack
            goes on (`SegPGD`) stands at its end, since ART does not say how far it is.

    Raises:
        InputError: If there is no such attack or option.
    """

    def __init__(
        self,
        attack: str,
        eps: float | str = "8/255",
        norm: Literal["linf", "l2"] = "linf",
        options: Mapping[str, Any] | None = None,
        objective: Objective | None = None,
    ) -> None:
        super().__init__(eps)
        one_of("norm", norm, *_NORMS)
        self.attack, self.norm, self.objective = attack, norm, objective or TaskLoss()
        self._class = _load(attack)
        known = signature(self._class).parameters
        theirs = {name: _number(name, value) for name, value in (options or {}).items()}
        if not theirs.keys() <= known.keys() - set(_OURS):
            allowed = ", ".join(name for name in known if name not in _OURS)
            raise InputError(f"options of {attack}: {', '.join(theirs)}; expected some of {allowed}.")
        ours = {"eps": self.eps, "norm": _NORMS[norm], "targeted": False, "verbose": False}
        self.arguments = theirs | {name: value for name, value in ours.items() if name in known}

    @property
    def needs_purifier(self) -> bool:
        """Whether the objective is about the purifier."""
        return self.objective.needs_purifier

    @property
    def needs_gradient(self) -> bool:
        """Whether ART's attack asks for one."""
        return any("Gradients" in kind.__name__ for kind in self._class._estimator_requirements)

    def check(self, task: AttackedTask, batch: Batch) -> None:
        """Refuse an attack that does not serve the task, and options that ART refuses; see `Attack`."""
        (seen,) = OneImage.each(task, batch, [lambda image, streams: image], Streams(0, (0,)))
        with self._plainly(seen):
            self._make(seen)

    def craft_one(self, seen: OneImage) -> Tensor:
        """Attack one image; see `OneByOne`."""
        with seen.seeded(), self._plainly(seen):
            attack, label = self._make(seen)
            found = torch.as_tensor(attack.generate(seen.image.cpu().numpy().copy(), label)).to(seen.image)
        if found.shape != seen.image.shape:
            raise InputError(
                f"{self.attack} returns {tuple(found.shape)}; expected {tuple(seen.image.shape)}."
            )
        return found

    @contextmanager
    def _plainly(self, seen: OneImage) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, NotImplementedError) as error:
            raise InputError(f"{self.attack} on {type(seen.task).__name__}: {error}") from error

    def _make(self, seen: OneImage) -> tuple[Any, Any]:
        """Return the attack on an image, and its label as ART wants it."""
        estimator, label = self._estimate(seen)
        if not self._class.is_estimator_valid(estimator, self._class._estimator_requirements):
            raise InputError(
                "it needs class probabilities; choose one that needs gradients alone, such as PGD."
            )
        attack = self._class(estimator, **self.arguments)
        if attack.targeted or self._class.__name__ in _TOWARDS_LABELS:
            raise InputError("it drives towards a target; use PGD or APGD with the objective TargetedLoss.")
        return attack, label

    def _estimate(self, seen: OneImage) -> tuple[Any, Any]:
        """Return ART's view of an image, and its label as ART wants it."""
        from dds.attacks.libraries.art_estimators import (  # ART takes seconds to import
            SeenClassifier,
            SeenGradients,
        )

        value = self.objective.bind_average(seen.task, seen.batch, seen.through)
        if seen.task.target != "label":
            return SeenGradients(seen, value), np.zeros(1)
        with torch.no_grad():
            classes = seen.logits(seen.image).shape[1]
        return SeenClassifier(seen, value, classes), np.eye(classes)[seen.batch["label"].cpu().numpy()]


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"attack={path!r}: {error}; expected e.g. art.attacks.evasion.SquareAttack."
        ) from error
    from art.attacks import EvasionAttack

    if not (isinstance(found, type) and issubclass(found, EvasionAttack)):
        raise InputError(
            f"attack={path!r} is no evasion attack; expected e.g. art.attacks.evasion.SquareAttack."
        )
    return found


def _number(name: str, value: Any) -> Any:
    return pixels(name, value) if isinstance(value, str) and "/" in value else value
