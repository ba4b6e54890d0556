"""The attacks that are compared at an equal number of network calls."""

from typing import Any, Literal

from benchmarks.levels_apart import LevelsApart
from benchmarks.redrawn import Redrawn
from dds.attacks import (
    APGD,
    DLR,
    MIFGSM,
    PGD,
    Attack,
    BalancedMaskedCrossEntropy,
    CosPGD,
    Disappearance,
    FalseAlarm,
    FeatureDistance,
    JensenShannon,
    LowFrequency,
    Margin,
    MaskedCrossEntropy,
    Objective,
    PredictedNoise,
    PurifiedDistance,
    PurifiedTwice,
    RootMeanSquareError,
    SegPGD,
    Square,
    Strongest,
    WorstOf,
)
from dds.attacks.gradient import Weights
from dds.purifiers import Purifier
from dds.tasks import BaseTask

Norm = Literal["linf", "l2"]


def contenders(target: str, calls: int, eps: float, norm: Norm = "linf") -> dict[str, Attack]:
    """Return the attacks on a task that is scored by `target`, each of at most so many calls an image.

    A call is one forward or one backward of the purifier with the task behind it, so a gradient takes two.

    Args:
        target: As `BaseTask.target`.
        calls: The budget.
        eps: Radius of the ball, in [0, 1] pixel units.
        norm: Of the ball.
    """
    steps = calls // 2
    attacks: dict[str, Attack] = {
        "pgd": PGD(eps, eps / 4, steps, norm),
        "pgd_eot5": PGD(eps, eps / 4, steps // 5, norm, eot=5),
        "apgd": APGD(eps, steps - 1, norm),
        "apgd_eot5": APGD(eps, max(1, steps // 5 - 1), norm, eot=5),
        "square": Square(eps, calls // 2, norm),
        "strongest": Strongest(eps, norm, calls),
        "momentum": _with_momentum(eps, steps, norm),
        "momentum_falling": _with_momentum(eps, steps, norm, eot_weights="falling"),
        "momentum_holding": _with_momentum(eps, steps, norm, eot_weights="holding"),
        "momentum_mirrored": Redrawn("mirrored", **_climber(eps, steps, norm)),
        "momentum_shared": Redrawn("shared", steps, **_climber(eps, steps, norm)),
        "momentum_shared5": Redrawn("shared", 5, **_climber(eps, steps, norm)),
        "momentum_coarse": LowFrequency(_with_momentum(eps, steps // 3, norm), [4, 2, 1]),
    }
    for name, objective in _OBJECTIVES[target].items():
        attacks[f"momentum_{name}"] = _with_momentum(eps, steps - 1, norm, objective)
    if norm == "linf":
        attacks["mifgsm"] = MIFGSM(eps, eps / 8, steps)
    if steps >= 400:
        attacks["pgd_20x20"] = PGD(eps, eps / 4, 20, norm, eot=20)  # as published for random defences
    return attacks | _peers(target, calls, eps, norm)


def label_free(calls: int, eps: float, stand_in: BaseTask, purifier: Purifier) -> dict[str, Attack]:
    """Return the attacks on the diffusion process, which know no label, on the same budget.

    Args:
        calls: The budget; a gradient takes two, and one more where the clean image is purified besides.
        eps: Radius of the Linf ball, in [0, 1] pixel units.
        stand_in: A task on other targets, whose network is public.
        purifier: What is attacked.
    """
    purified: dict[str, Objective] = {
        "features": FeatureDistance(reference="purified"),
        "stand_in_features": FeatureDistance(reference="purified", of=stand_in),
        "pixels": PurifiedDistance(),
        "noise": PredictedNoise("clean"),
    }
    attacks: dict[str, Attack] = {
        name: _with_momentum(eps, calls // 3, objective=one) for name, one in purified.items()
    }
    clean = {"clean_features": None, "clean_stand_in_features": stand_in}
    attacks |= {
        name: _with_momentum(eps, (calls - 1) // 2, objective=FeatureDistance(of=task))
        for name, task in clean.items()
    }
    twice = {"twice": PurifiedTwice(), "levels": LevelsApart(purifier, purifier.level(145))}
    return attacks | {name: _with_momentum(eps, calls // 4, objective=one) for name, one in twice.items()}


def _with_momentum(
    eps: float,
    steps: int,
    norm: Norm = "linf",
    objective: Objective | None = None,
    eot_weights: Weights = "equal",
) -> PGD:
    eot = 1 if eot_weights == "equal" else 2
    climber = _climber(eps, steps // eot, norm)
    return PGD(**climber, eot=eot, objective=objective, eot_weights=eot_weights)


def _climber(eps: float, steps: int, norm: Norm) -> dict[str, Any]:
    """Return settings of PGD under which it climbs best."""
    return {
        "eps": eps,
        "step_size": eps / 2,
        "steps": steps,
        "norm": norm,
        "momentum": 0.75,
        "shrinking": True,
    }


def _peers(target: str, calls: int, eps: float, norm: Norm) -> dict[str, Attack]:
    """Return what others take for the strongest, where the budget is enough: AutoAttack (rand), SEA."""
    if target == "label":
        losses: dict[str, Objective | None] = {"ce": None, "dlr": DLR()}
        eot = 20 if calls >= 1000 else 5
        steps = (calls // 2 - 2 * eot) // (2 * eot)
        if steps < 1:
            return {}
        rand: dict[str, Attack] = {
            name: APGD(eps, steps, norm, eot=eot, objective=loss) for name, loss in losses.items()
        }
        return {"autoattack_rand": WorstOf(rand, eot=eot)}
    if target == "mask":
        return {
            f"sea{name}": sea
            for name, eot in {"": 1, "_eot5": 5}.items()
            if (sea := _sea(calls, eps, norm, eot))
        }
    return {}


def _sea(calls: int, eps: float, norm: Norm, eot: int) -> WorstOf | None:
    """Return SEA with all steps that a budget allows, each on so many draws; `None` if they are too few."""
    losses = {"mce": MaskedCrossEntropy(), "mce_bal": BalancedMaskedCrossEntropy(), "js": JensenShannon()}
    steps = (calls // (len(losses) * eot) - 4) // 2  # three stages begin, and one value is compared
    if steps < 4:
        return None
    climbs: dict[str, Attack] = {
        name: APGD(eps, steps, norm, eot=eot, objective=loss, schedule="sea") for name, loss in losses.items()
    }
    return WorstOf(climbs, eot=eot)


_OBJECTIVES: dict[str, dict[str, Objective]] = {
    "label": {"margin": Margin(), "dlr": DLR()},
    "mask": {
        "cospgd": CosPGD(),
        "segpgd": SegPGD(),
        "masked": MaskedCrossEntropy(),
        "balanced": BalancedMaskedCrossEntropy(),
        "js": JensenShannon(),
    },
    "depth": {"rmse": RootMeanSquareError(), "features": FeatureDistance()},
    "relevance": {"features": FeatureDistance()},
    "boxes": {"disappearance": Disappearance(), "false_alarm": FalseAlarm()},
}
"""What is climbed besides the task's own loss, by what a task is scored by."""
