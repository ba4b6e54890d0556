"""Numbers as users give them, in a YAML or from Python as numpy's or torch's, and as they read them."""

from fractions import Fraction
from typing import Any

from dds.errors import InputError


def plain(value: Any) -> Any:
    """Return numbers and lists of numpy or torch as Python's own; everything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def whole(name: str, value: Any, least: int | None = 1) -> int:
    """Read a whole number; 50.0 is one.

    Args:
        name: What it is called in the message.
        value: The number.
        least: The smallest that is allowed; None: any is.

    Raises:
        InputError: If it is none, or is less than `least`.
    """
    number = plain(value)
    bound = "" if least is None else f" of at least {least}"
    if isinstance(number, bool) or not isinstance(number, int | float) or number != number // 1:
        raise InputError(f"{name}={value}; expected a whole number{bound}.")
    if least is not None and number < least:
        raise InputError(f"{name}={value}; expected a whole number{bound}.")
    return int(number)


def real(name: str, value: Any) -> float:
    """Read a finite number, or a fraction such as `8/255`.

    Raises:
        InputError: If it is none.
    """
    number = plain(value)
    try:
        read = float(Fraction(number)) if isinstance(number, str) else float(number)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"{name}={value!r}; expected a number or a fraction such as 8/255.") from error
    if isinstance(number, bool) or abs(read) == float("inf") or read != read:
        raise InputError(f"{name}={value!r}; expected a finite number.")
    return read


def pixels(name: str, value: Any) -> float:
    """Read a distance in [0, 1] pixel units such as `0.03` or `8/255`.

    Raises:
        InputError: If it is no number, or is negative.
    """
    number = real(name, value)
    if number < 0:
        raise InputError(f"{name}={value}; expected at least 0, in units of an image in [0, 1] (e.g. 8/255).")
    return number


def number_of_images(count: int) -> str:
    """Write down a number of images: `1 image`, `8 images`."""
    return f"{count} image" if count == 1 else f"{count} images"
