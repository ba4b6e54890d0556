import re
from collections.abc import Mapping
from typing import Any

from dds.errors import InputError


def label_of_each_value(
    classes: Mapping[Any, int | None] | None,
    colours: Mapping[str, int | None] | None,
    others: int | None,
    ignored: int,
) -> dict[int, int]:
    """Return the label of each value that a mask may hold, of colours 0xRRGGBB.

    Args:
        classes: Class of each value, None where it is ignored; default: a value is its class, and 255 is
            ignored.
        colours: Class of each colour, such as `#800000`, in the place of values.
        others: Class of all values that are not named, which is checked alone.
        ignored: The label of ignored pixels.

    Raises:
        InputError: If both are given, or one of them cannot be meant.
    """
    if classes and colours:
        raise InputError("data.classes and data.colours are both given; expected one of them.")
    named: Mapping[Any, int | None] = classes or dict(enumerate([*range(255), None]))
    if colours is not None:
        named = {_number(colour): number for colour, number in colours.items()}
    words = [value for value in named if not isinstance(value, int)]
    if words:
        raise InputError(f"data.classes names {words[0]!r}; expected numbers, which is what masks hold.")
    negative = [number for number in (*named.values(), others) if number is not None and number < 0]
    if negative:
        raise InputError(f"a mask's value stands for class {negative[0]}; expected 0 or more, or null.")
    return {value: ignored if number is None else number for value, number in named.items()}


def _number(colour: str) -> int:
    if not re.fullmatch("#?[0-9a-fA-F]{6}", colour):
        raise InputError(f"data.colours names {colour!r}; expected a colour such as '#800000'.")
    return int(colour.removeprefix("#"), 16)
