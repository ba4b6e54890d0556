"""What is wrong with the settings, in a line or two."""

import json
from collections.abc import Mapping
from inspect import isabstract
from typing import Any

from jsonargparse import ArgumentParser

from dds.command_line.importing import find_class, import_class, takes_more, why_not_found
from dds.command_line.nearest import did_you_mean, known_depth, nearest, siblings
from dds.command_line.trail import Trail, follow, input_error
from dds.command_line.types import choices, classes_of, describe

_SPEC = ("class_path", "init_args", "dict_kwargs")
_LONGEST = 300  # characters of other people's messages


def explain(error: Exception) -> str | None:
    """Return what a user can mend.

    Args:
        error: What was raised while the settings were read, the objects built, or later.

    Returns:
        A line or two; None where it is no matter of the settings.
    """
    if found := input_error(error):
        return str(found)
    trail = follow(error)
    if not any(trail.locals(function) for function in ("parse_args", "instantiate")):
        return None
    for find in _KINDS:
        if said := find(trail):
            return said
    return _at(trail, _line(trail.error).replace("ignored explicit argument", "it takes no value, but got"))


def _not_importable(trail: Trail) -> str | None:
    """Name a class or module that is not there."""
    here = trail.locals("import_object")
    return _at(trail, why_not_found(here["name"], trail.expected, trail.error)) if here else None


def _foreign(trail: Trail) -> str | None:
    """Name the setting that other people's code does not take."""
    if not trail.is_foreign:
        return None
    built = trail.locals("default_class_instantiator").get("class_type")
    subject = f"{_path(built)} fails with " if built else ""
    return _at(trail, f"{subject}{type(trail.error).__name__}: {_line(trail.error)}")


def _unrecognised(trail: Trail) -> str | None:
    """Name an option that there is not, and the one that was meant."""
    here = trail.locals("parse_args")
    unknown = next(iter(here.get("unk") or ()), None)
    if unknown is None:
        return None
    if not unknown.startswith("--"):
        return f"{unknown!r} is no option. A YAML is given by --config {unknown}; see --help."
    name = unknown[2:].partition("=")[0]
    known = _all_names(here["self"], here["cfg"])
    *_, last = name.split(".")
    elsewhere = sorted({one for one in known if one.split(".")[-1] == last and one != name})
    meant = f" Did you mean --{' or --'.join(elsewhere[:3])}?" if elsewhere else None
    return f"there is no option --{name}.{meant or siblings(name.split('.'), known)} See --help."


def _missing(trail: Trail) -> str | None:
    """Name what has to be set."""
    _, found, text = str(trail.error).partition("arguments are required: ")
    names = [".".join(filter(None, [trail.setting, name])) for name in text.split(", ")]
    brought = " A YAML brings them: --config seg_scenes.yaml; see --help."
    where = "" if trail.setting else brought if {*names} <= {"task", "data"} else " See --help."
    return f"{' and '.join(names)} must be set.{where}" if found else None


def _no_group(trail: Trail) -> str | None:
    """Name what was given in the place of a group of settings."""
    given = trail.locals("group_instantiate_class").get("value")
    return None if given is None else f"{trail.setting}={_short(given)}; expected its settings by name."


def _misplaced(trail: Trail) -> str | None:
    """Name what stands beside a class_path and belongs elsewhere."""
    given = _as_mapping(trail.given)
    beside = [name for name in given if name not in _SPEC]
    if "class_path" not in given or not beside:
        return None
    if like := nearest(beside[0], _SPEC):
        return _at(trail, f"there is no {beside[0]}. Did you mean {like}?")
    inside = {**_as_mapping(given.get("init_args")), **{name: given[name] for name in beside}}
    arguments = ", ".join(f"{name}: {_short(value)}" for name, value in inside.items())
    line = f"{{class_path: {given['class_path']}, init_args: {{{arguments}}}}}"
    return _at(trail, f"{', '.join(beside)} belongs under init_args: {line}")


def _unknown_key(trail: Trail) -> str | None:
    """Name a setting that a class or a group does not have, and what there is."""
    here = trail.locals("check_values")
    if not here:
        return None
    parser, key = trail.locals("validate")["self"], here["key"].split(".")
    names = _names(parser)
    built = trail.locals("adapt_class_type").get("val_class")
    depth = known_depth(key, names)
    where = ".".join([trail.setting, *key[:depth]]).strip(".")
    owner = f"{where} ({built.__qualname__})" if built else where or "the configuration"
    more = ""
    if built and takes_more(built, names):
        line = f"dict_kwargs: {{{key[0]}: {_short(here['val'])}}}"
        more = f" What it takes beyond them belongs beside class_path: {line}"
    return f"{owner} has no {key[depth]}.{siblings(key, names, _SPEC if built else ())}{more}"


def _no_class(trail: Trail) -> str | None:
    """Say that a class is not named, or not for each of several."""
    text, given = str(trail.error), _as_mapping(trail.given)
    if trail.setting.rpartition(".")[2] in _SPEC:
        where = trail.setting.rpartition(".")[0]
        return f"{where} holds several things by name; expected {where}: {{some_name: {{class_path: …}}}}."
    if "abstract" not in text and not text.startswith("Not a valid subclass"):
        return None
    meant = next((f" Did you mean class_path for {name}?" for name in given if nearest(name, _SPEC)), "")
    return _at(trail, f"no class_path is named.{meant} {why_not_found('', trail.expected)}")


def _wrong_class(trail: Trail) -> str | None:
    """Say why a class that is named cannot be built here: methods are missing, or it is of another kind."""
    name, text = _as_mapping(trail.given).get("class_path"), str(trail.error)
    if name is None or not any(said in text for said in ("is abstract", "does not correspond to a subclass")):
        return None
    known = classes_of(trail.expected)
    named = import_class(name) if "." in name else find_class(name, known)
    if named in known:
        return None
    if isabstract(named):
        missing = ", ".join(sorted(named.__abstractmethods__))
        said = f"{name} is abstract: it does not define {missing}. Define that, or name a class that does."
        return _at(trail, said)
    return _at(trail, f"{name} is not what belongs here. {why_not_found('', trail.expected)}")


def _value(trail: Trail) -> str | None:
    """Name a value of another type than the setting's."""
    if trail.expected is None:
        return None
    given = getattr(trail.given, "val", trail.given)  # of an option that reaches into the setting
    meant = did_you_mean(str(given), choices(trail.expected))
    return f"{trail.setting}={_short(given)}; expected {describe(trail.expected, given)}.{meant}"


_KINDS = (
    _not_importable,
    _foreign,
    _unrecognised,
    _missing,
    _no_group,
    _misplaced,
    _unknown_key,
    _wrong_class,
    _no_class,
    _value,
)


def _names(parser: ArgumentParser) -> list[str]:
    names = (action.dest for action in parser._actions)
    return [name for name in names if not name.endswith("help") and not name.startswith("print_")]


def _all_names(parser: ArgumentParser, config: Any) -> list[str]:
    """Return every option, also those of the classes that are named so far."""
    names = _names(parser)
    for name in list(names):
        spec = config.get(name)
        if class_path := getattr(spec, "class_path", None):
            inner = type(parser)()
            inner.add_class_arguments(import_class(class_path))
            names += [f"{name}.{one}" for one in _names(inner)]
    return names


def _as_mapping(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else dict(getattr(given, "__dict__", {}))


def _at(trail: Trail, said: str) -> str:
    return f"{trail.setting}: {said}" if trail.setting else said


def _path(built: Any) -> str:
    return f"{built.__module__}.{built.__qualname__}"


def _short(given: Any) -> str:
    """Write a value as in a YAML, cut if it is long."""
    if given is None or isinstance(given, bool):
        return json.dumps(given)
    return str(given) if len(str(given)) <= 80 else f"{str(given)[:80]}…"


def _line(error: BaseException) -> str:
    """Put what an error says on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
