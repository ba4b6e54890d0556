"""Classes by name: where they are looked for, and why one is not found."""

import sys
from collections.abc import Iterable
from importlib import import_module
from inspect import Parameter, isclass, ismodule, signature
from pathlib import Path
from typing import Any

from dds.command_line.nearest import did_you_mean
from dds.command_line.types import classes_of

_OFFERED = 30  # classes; torch's modules are thousands
_ROOMS = ("tasks", "data", "attacks", "attacks.objectives", "purifiers", "controls", "models")


def import_from(folder: Path) -> None:
    """Have Python find modules in a folder, after those that it finds anyway."""
    if (path := str(folder.resolve())) not in sys.path:
        sys.path.append(path)


def import_class(path: str) -> Any:
    """Return the class or function of a dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def find_class(name: str, known: Iterable[type]) -> Any:
    """Return a class by its bare name: one of those known, else of the rooms of `dds`.

    Raises:
        AttributeError: If there is none of that name.
    """
    named = [found for found in known if found.__name__ == name]
    named += [found for room in _ROOMS if (found := _in_room(room, name)) is not None]
    if not named:
        raise AttributeError(_unknown(name, [found.__name__ for found in known]).strip())
    return named[0]


def takes_more(built: Any, names: Iterable[str]) -> bool:
    """Whether something takes arguments that nothing names; those of a base class are known by name.

    Args:
        built: A class or function.
        names: Of the arguments that are known.
    """
    inits = [vars(owner)["__init__"] for owner in getattr(built, "__mro__", ()) if "__init__" in vars(owner)]
    is_open = all(map(_has_kwargs, inits[:-1] or [built]))  # the last is that of object
    return is_open or (_has_kwargs(built) and signature(built).parameters.keys() >= set(names))


def _has_kwargs(built: Any) -> bool:
    return any(one.kind is Parameter.VAR_KEYWORD for one in signature(built).parameters.values())


def why_not_found(name: str, kind: Any, error: BaseException | None = None) -> str:
    """Say why a class is not found by its name or path, and what could be named instead.

    Args:
        name: As the user wrote it; empty: nothing.
        kind: The type that is expected in its place.
        error: What importing it raised.
    """
    if "." in name:
        return _why_not_at(name.split("."), error)
    found = classes_of(kind)
    known, ours = (
        sorted({one.__name__ for one in some})
        for some in (found, [one for one in found if one.__module__.startswith("dds.")])
    )
    few = known if len(known) <= _OFFERED else ours
    offered = f"Known here: {', '.join(few)}; your own" if 0 < len(few) <= _OFFERED else "Name one"
    return f"{_unknown(name, known)}{offered} by its path, as in my_module.MyClass."


def _unknown(name: str, known: list[str]) -> str:
    if not name:
        return ""
    elsewhere = next((room for room in _ROOMS if isclass(_in_room(room, name))), None)
    if elsewhere:
        return f"{name} is one of dds.{elsewhere}, which is not what belongs here. "
    return f"there is no class {name}.{did_you_mean(name, known)} "


def _in_room(room: str, name: str) -> Any:
    return getattr(import_module(f"dds.{room}"), name, None)


def _why_not_at(path: list[str], error: BaseException | None) -> str:
    """Follow a dotted path as far as it goes."""
    for depth in range(len(path) - 1, 0, -1):
        parent = ".".join(path[:depth])
        if (module := sys.modules.get(parent)) is not None and not hasattr(module, path[depth]):
            is_last = depth == len(path) - 1
            names = [one for one in dir(module) if not (is_last and ismodule(getattr(module, one, None)))]
            return f"{parent} has no {path[depth]}.{did_you_mean(path[depth], names)}"
    if isinstance(error, ModuleNotFoundError) and error.name == path[0]:
        return (
            f"there is no module {path[0]} among the installed packages, in the working folder or beside the "
            f"YAML. Install it, or name its folder by PYTHONPATH=….{did_you_mean(path[0], ['dds'])}"
        )
    return f"{'.'.join(path)} cannot be imported: {type(error).__name__}: {error}"
