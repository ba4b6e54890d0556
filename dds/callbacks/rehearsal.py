from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from dds.attacks import Attack
from dds.batch import Batch
from dds.errors import InputError
from dds.noise import Streams
from dds.protocol import Defences
from dds.tasks import BaseTask

Result = TypeVar("Result")


def rehearse(task: BaseTask, batch: Batch, defences: Defences, attacks: Iterable[Attack]) -> None:
    """Find out by one image, before the work starts, whether networks, targets and attacks go together.

    Args:
        task: The task, prepared for its tests.
        batch: The first batch.
        defences: Of which the purifier works at its first level, and each named one.
        attacks: Those to come.

    Raises:
        InputError: If not.
    """
    one: Any = {key: value[:1] for key, value in batch.items() if isinstance(value, Tensor)}
    image, streams = one["image"], Streams(0, (0,))
    output, features = _take(type(task).__name__, task.look, image)
    task.check_targets(output, one)
    if features is not None:
        one["features"] = features
    first_level = {id(defences.purifier_of(defence)): defence for defence in reversed(defences.all)}
    for defence in first_level.values():
        purify = partial(defences.purify, defence, streams=streams)
        _take(type(defences.purifier_of(defence)).__name__, purify, image)
    for attack in attacks:
        attack.check(task, one)


def _take(name: str, network: Callable[[Tensor], Result], image: Tensor) -> Result:
    try:
        return network(image)
    except InputError:
        raise
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        raise InputError(
            f"{name} cannot take images of {image.shape[2]}x{image.shape[3]}: {error} "
            "Set the size in the data module, or task.input_size to have the task resize them."
        ) from error
