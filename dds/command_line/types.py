"""Types as users know them."""

from collections.abc import Iterator, Mapping, Sequence
from inspect import isabstract, isclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

ANY_CLASS = "{class_path: …}"

_PLAIN: dict[Any, str] = {
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    NoneType: "null",
    Path: "a path",
    str: "text",
}


def describe(kind: Any, given: Any = None) -> str:
    """Say what a setting of some type may be.

    Args:
        kind: The type.
        given: What was given in its place, for an example.
    """
    said = list(dict.fromkeys(_alternatives(kind, given)))
    return " or ".join(said) if len(said) < 3 else f"{', '.join(said[:-1])} or {said[-1]}"


def _alternatives(kind: Any, given: Any) -> Iterator[str]:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for one in inner:
            yield from _alternatives(one, given)
    elif origin is Literal:
        yield from map(str, inner)
    elif isclass(origin) and issubclass(origin, Mapping):
        yield f"{{some_name: {describe(inner[1])}}}"
    elif isclass(origin) and issubclass(origin, Sequence):
        yield "a list" + (f", such as [{given}]" if isinstance(given, str | int | float) else "")
    else:
        yield _PLAIN.get(kind, ANY_CLASS)


def choices(kind: Any) -> list[str]:
    """Return the words that a setting of some type may be."""
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return [str(word) for part in parts if get_origin(part) is Literal for word in get_args(part)]


def classes_of(kind: Any) -> list[type]:
    """Return what can be named where some type is expected: the classes below it that are known so far."""
    if get_args(kind):
        return list(dict.fromkeys(found for part in get_args(kind) for found in classes_of(part)))
    if not isclass(kind) or kind in _PLAIN:
        return []
    below = [found for child in kind.__subclasses__() for found in classes_of(child)]
    itself = [] if isabstract(kind) or kind.__name__.startswith("_") else [kind]
    return list(dict.fromkeys([*itself, *below]))
