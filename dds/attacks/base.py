from abc import ABC, abstractmethod
from fractions import Fraction

from torch import Tensor

from dds.attacks.objectives import Calls, Objective, TaskLoss, Value
from dds.errors import InputError
from dds.noise import Streams


class Attack(ABC):
    """An optimiser that changes images within a budget so that an objective grows.

    Args:
        eps: Budget in [0, 1] pixel units; a number or a fraction such as `8/255`.
        objective: What is maximised; default the task's own loss.
    """

    norm: str = "linf"
    """The norm that `eps` bounds: `linf` or `l2`."""

    def __init__(self, eps: float | str, objective: Objective | None) -> None:
        self.eps = pixels("eps", eps)
        self.objective = objective or TaskLoss()

    @property
    @abstractmethod
    def calls(self) -> Calls:
        """How often one image's attack evaluates the objective, with and without its gradient."""

    @abstractmethod
    def __call__(self, image: Tensor, value: Value, streams: Streams) -> Tensor:
        """Attack images.

        Args:
            image: `[B, 3, H, W]` in [0, 1].
            value: What to maximise, for each image.
            streams: The attacker's own random numbers.

        Returns:
            `[B, 3, H, W]` in [0, 1], within `eps` of the images.
        """


def pixels(name: str, value: float | str) -> float:
    """Read a distance in [0, 1] pixel units such as `0.03` or `8/255`.

    Raises:
        InputError: If it is no number, or is negative.
    """
    try:
        number = float(Fraction(value)) if isinstance(value, str) else float(value)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{name}={value!r}; expected a number or a fraction such as 8/255.") from error
    if not 0 <= number < float("inf"):
        raise InputError(f"{name}={value}; expected at least 0, in units of an image in [0, 1] (e.g. 8/255).")
    return number


def whole(name: str, value: int, least: int = 1) -> int:
    """Return a count after checking it.

    Raises:
        InputError: If it is less than `least`.
    """
    if value < least:
        raise InputError(f"{name}={value}; expected a whole number of at least {least}.")
    return value


def one_of(name: str, choice: str, *choices: str) -> None:
    """Raise an InputError that lists the choices if `choice` is none of them."""
    if choice not in choices:
        raise InputError(f"{name}={choice!r}; expected one of {', '.join(choices)}.")
