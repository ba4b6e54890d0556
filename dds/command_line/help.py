"""Help that fits on a screen: `--help`, and `--<setting>.help` for what a setting can be made of."""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from inspect import getdoc, isclass, signature
from textwrap import fill
from typing import Any

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from dds.command_line.importing import find_class, import_class, takes_more
from dds.command_line.types import ANY_CLASS, classes_of, describe
from dds.errors import InputError

_MANY = 20  # classes that are listed
_WIDTH = 100


class BriefFormatter(DefaultHelpFormatter):  # type: ignore[misc]
    """Shows of each option what it is for, what it takes and its default."""

    def add_argument(self, action: argparse.Action) -> None:
        """Leave out the options of help for single settings, which the description explains."""
        if not action.dest.endswith(".help"):
            super().add_argument(action)

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.nargs == 0 or getattr(action, "_typehint", None) is None:
            return action.help or ""
        default = "" if action.default in (None, argparse.SUPPRESS) else "; default: %(default)s"
        taken = takes(action).replace("%", "%%")
        return f"{(action.help or '').rstrip('.')} ({taken}{default})"

    def _format_action_invocation(self, action: argparse.Action) -> str:
        long = [option for option in action.option_strings if option.startswith("--")]
        return long[0] if long else super()._format_action_invocation(action)


def wanted_help(arguments: Sequence[str]) -> tuple[str, str] | None:
    """Find `--<setting>.help=<class>` or `--<setting>.help <class>` among the arguments.

    Returns:
        Setting and class; an empty class where none is named.
    """
    for place, argument in enumerate(arguments):
        if found := re.fullmatch(r"--([\w.]+)\.help(?:=(.*))?", argument):
            following = [one for one in arguments[place + 1 : place + 2] if not one.startswith("-")]
            return found[1], found[2] or "".join(following)
    return None


def help_of(parser: ArgumentParser, setting: str, name: str) -> str:
    """Explain a class that a setting can be made of, or, where none is named, list them.

    Args:
        parser: Of the program.
        setting: E.g. `task`, `protocol.attacks`, `task.model`.
        name: A class or function, by name or path.

    Raises:
        InputError: If there is no such thing.
    """
    kinds = [action._typehint for action in parser._actions if action.dest == setting]
    known = [found for kind in kinds for found in classes_of(kind)]
    if name:
        try:
            built = import_class(name) if "." in name else find_class(name, known)
        except (ImportError, AttributeError) as error:
            raise InputError(f"--{setting}.help={name}: {error}") from error
        return "\n".join(_explained(type(parser), built))
    if not known:
        raise InputError(f"--{setting}.help needs a class, as in --{setting}.help=my_module.MyClass.")
    listed = (fill(f"{one.__name__}: {_summary(one)}", _WIDTH, subsequent_indent="    ") for one in known)
    return "\n".join([f"--{setting} can be:", *listed, f"--{setting}.help=NAME explains one."])


def takes(action: argparse.Action) -> str:
    """Say what a setting may be, by the names of classes where they are few."""
    kind: Any = getattr(action, "_typehint", None)
    names = [found.__name__ for found in classes_of(kind)]
    if not 0 < len(names) <= _MANY:
        return describe(kind)
    return describe(kind).replace(ANY_CLASS, f"one of {', '.join(names)}")


def _explained(kind: type[ArgumentParser], built: Any) -> Iterator[str]:
    parser = kind()
    add = parser.add_class_arguments if isclass(built) else parser.add_function_arguments
    add(built, fail_untyped=False)
    typed = (action for action in parser._actions if hasattr(action, "_typehint"))
    actions = {action.dest: action for action in typed if not action.dest.endswith(".help")}
    more = takes_more(built, actions)
    yield fill(f"{built.__module__}.{built.__qualname__}: {_summary(built)}", _WIDTH)
    yield from _paragraphs(built)
    for owner in built.__mro__ if isclass(built) else (built,):
        taken = vars(owner).get("__init__", owner) if isclass(owner) else owner
        own = [actions.pop(name) for name in _names(taken) if name in actions]
        if own:
            yield f"\nSettings of {owner.__name__}:"
            yield from map(_setting, own)
    if more:
        yield "\nIt takes more than it names: give that under dict_kwargs, beside class_path."
    if actions:
        yield "\nFurther settings:"
        yield from map(_setting, actions.values())


def _names(taken: Any) -> Iterable[str]:
    try:
        return signature(taken).parameters
    except (TypeError, ValueError):  # of a class without an __init__ of its own
        return ()


def _setting(action: argparse.Action) -> str:
    default = action.default
    value = "required" if action.required else f"default: {'null' if default is None else default}"
    purpose = " ".join((action.help or "").split()).rstrip(".")
    return fill(f"  {action.dest}: {purpose} ({takes(action)}; {value})", _WIDTH, subsequent_indent="      ")


def _summary(built: Any) -> str:
    return (getdoc(built) or "").strip().partition("\n")[0]


def _paragraphs(built: Any) -> Iterator[str]:
    """Return what a docstring says between its summary and its sections."""
    text = re.split(r"\n(?:Args|Attributes|Returns|Raises|Example)s?:", getdoc(built) or "")[0]
    _, _, details = text.strip().partition("\n")
    if details.strip():
        yield f"\n{details.strip()}"
