"""What one image shows before the work starts."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from dds.attacks import Attack
from dds.attacks.objectives.base import AttackedTask
from dds.batch import Batch
from dds.callbacks.gradient_check import Function, is_derivative
from dds.errors import InputError
from dds.noise import Streams
from dds.protocol import Defence, Defences, Plan
from dds.tasks import BaseTask

Result = TypeVar("Result")

_STREAMS = Streams(0, (0,), ("rehearsal",))
_SAME = 1e-3  # relative to the largest: a network rounds otherwise in a larger batch


@dataclass(frozen=True)
class Findings:
    """What has to be said of the numbers to come.

    Attributes:
        unsteady: Keys of the defences, `t0` for the bare task, through which the loss of an image hangs on
            the other images of its batch, or differs when asked twice.
        doubtful: Names of attacks, each with a key likewise through which the gradient that it climbs is not
            the derivative.
    """

    unsteady: frozenset[str] = frozenset()
    doubtful: frozenset[tuple[str, str]] = frozenset()


def rehearse(
    task: BaseTask, batch: Batch, defences: Defences, attacks: Mapping[str, Attack], plan: Plan
) -> Findings:
    """Find out by one image, before the work starts, whether networks, targets and attacks go together.

    Args:
        task: The task, prepared for its tests.
        batch: The first batch.
        defences: Of which the purifier works at its first level, and at the last that attackers see.
        attacks: Those to come, by name.
        plan: What is to be computed.

    Raises:
        InputError: If not, or if an attack needs a gradient and there is none.
    """
    one: Any = {key: value[:1] for key, value in batch.items() if isinstance(value, Tensor)}
    image = one["image"]
    output, features = _take(type(task).__name__, task.look, image)
    task.check_targets(output, one)
    task.check_output(output)
    if features is not None:
        one["features"] = features
    for attack in plan.attacks(attacks):
        attack.check(task, one)
    with torch.autocast(image.device.type, enabled=False):
        unsteady = frozenset(map(_key, _unsteady(task, one, defences)))
        return Findings(unsteady, frozenset(_doubtful(task, one, defences, attacks, plan)))


def _key(defence: Defence | None) -> str:
    return str(defence or "t0")


def _unsteady(task: BaseTask, one: Batch, defences: Defences) -> list[Defence | None]:
    """Find the defences, a purifier at its first level, through which the answer is no function."""
    behind = {defence: id(defences.purifier_of(defence)) for defence in defences.all}
    first = {purifier: defence for defence, purifier in reversed(behind.items())}
    steady = {purifier: _is_function(task, one, defences, defence) for purifier, defence in first.items()}
    found: list[Defence | None] = [defence for defence, purifier in behind.items() if not steady[purifier]]
    return found if _is_function(task, one, defences, None) else [None, *found]


def _is_function(task: BaseTask, one: Batch, defences: Defences, defence: Defence | None) -> bool:
    """Ask about an image twice, and once more beside another image."""
    pair = cast(Batch, {key: torch.cat([value, value]) for key, value in cast(Any, one).items()})
    pair["image"][1] = 1 - pair["image"][1]
    answers = [_answer(task, batch, defences, defence)[0] for batch in (one, one, pair)]
    largest = answers[0].abs().nan_to_num(0.0).max().item()
    return all(answer.allclose(answers[0], 0.0, _SAME * largest, equal_nan=True) for answer in answers)


@torch.no_grad()
def _answer(task: BaseTask, batch: Batch, defences: Defences, defence: Defence | None) -> Tensor:
    streams = replace(_STREAMS, index=tuple(range(len(batch["image"]))))
    purify = partial(defences.purify, defence, streams=streams)
    name = type(task if defence is None else defences.purifier_of(defence)).__name__
    shown = _take(name, purify, batch["image"])
    return _take(type(task).__name__, partial(task.continuous_output, batch=batch), shown)


def _doubtful(
    task: BaseTask, one: Batch, defences: Defences, attacks: Mapping[str, Attack], plan: Plan
) -> Iterator[tuple[str, str]]:
    """Find attacks, and what they look through, whose gradient is not the derivative.

    Each task that they climb is looked at behind each purifier at its last level.
    """
    names = dict.fromkeys(craft.attack for craft in plan.crafts if craft.attack in attacks)
    climbed = {name: attacks[name].climbed(task, one) for name in names}
    tasks = {id(seen): (seen, batch) for each in climbed.values() for seen, batch in each}
    looks = [
        (craft.attack, (id(seen), defence))
        for craft in plan.crafts
        for seen, _ in climbed.get(craft.attack, ())
        for defence in craft.through or (None,)
    ]
    behind = {look: (look[0], id(look[1] and defences.purifier_of(look[1]))) for _, look in looks}
    last = {key: look for look, key in behind.items()}
    true = {
        key: (defence is None or _purifies_truly(one["image"], defences, defence))
        and _loses_truly(*tasks[seen], defences, defence)
        for key, (seen, defence) in last.items()
    }
    for attack, look in looks:
        if not true[behind[look]]:
            yield attack, _key(look[1])


def _purifies_truly(image: Tensor, defences: Defences, defence: Defence) -> bool:
    """Compare gradient and differences of a random projection of what a purifier makes of an image."""
    weights = _STREAMS.child("projection").normal(image)

    def project(image: Tensor) -> Tensor:
        return (defences.purify(defence, image, _STREAMS) * weights).flatten(1).sum(1)

    purifier = type(defences.purifier_of(defence)).__name__
    return _is_derivative(project, image, purifier, random=4) or not defence.differentiable


def _loses_truly(task: AttackedTask, one: Batch, defences: Defences, defence: Defence | None) -> bool:
    """Compare gradient and differences of the loss; a straight-through gradient has but to be there."""

    def loss(image: Tensor) -> Tensor:
        return task.image_loss(defences.purify(defence, image, _STREAMS), one)

    name = type(task.model).__name__ + (f" seen through {defence}" if defence else "")
    straight = defence is not None and not defence.differentiable
    return _is_derivative(loss, one["image"], name) or straight


def _is_derivative(function: Function, image: Tensor, name: str, random: int = 0) -> bool:
    try:
        return is_derivative(function, image, _STREAMS, random)
    except InputError as error:
        raise InputError(f"{name} {error}") from error


def _take(name: str, network: Callable[[Tensor], Result], image: Tensor) -> Result:
    try:
        return network(image)
    except InputError:
        raise
    except Exception as error:  # of any network, given any images
        size = f"{image.shape[2]}x{image.shape[3]}"
        raise InputError(
            f"{name} cannot take images of {size} ({type(error).__name__}: {error}). If they should have "
            "another size, set it in the data module, or task.input_size to have the task resize them."
        ) from error
