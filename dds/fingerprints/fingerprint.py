"""What tells things apart that compute differently: their classes, settings and weights."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from functools import partial
from pathlib import PurePath
from struct import calcsize
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.fx import GraphModule

_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, *_OF_TORCH)
_KEPT = {"training", "_parameters", "_buffers", "_modules"}
_KEPT |= {"_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"}
_PASSING = (vars(nn.Module()).keys() | vars(LightningModule()).keys()) - _KEPT
"""What torch and Lightning note in modules and that decides nothing, such as the trainer."""

_HYPERPARAMETERS = "_hparams"  # which Lightning makes when it first looks for some

_POINTER = calcsize("P")


class NoFingerprintError(Exception):
    """Something cannot be told from others by looking at it, e.g. a session of another library."""


class Fingerprint:
    """A hash of things, the same in every process and on every machine.

    Weights and arrays count by their values, objects by their class and attributes, but those that a class
    names in `run_state`, functions by their name and by what they have closed over. What code a name stands
    for is left to `modules`.

    Attributes:
        modules: Names of the modules in which the classes and functions were defined.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self._hash = hashlib.sha256()
        self._seen: dict[int, tuple[int, Any]] = {}  # the things, too, so that no other gets their place
        self._path: list[str] = []

    def of(self, *things: Any) -> str:
        """Return the hash of all that was looked at so far and, now, of things.

        Raises:
            NoFingerprintError: Naming what cannot be told from others, and where it is.
        """
        for thing in things:
            self._add(thing)
        return self._hash.hexdigest()

    def _say(self, *words: object) -> None:
        for word in words:
            said = word if isinstance(word, bytes) else str(word).encode(errors="surrogatepass")
            self._hash.update(len(said).to_bytes(8, "big") + said)

    def _add(self, thing: Any, name: str = "") -> None:
        if isinstance(thing, _PLAIN):
            return self._say(type(thing).__name__, repr(thing))
        if isinstance(thing, type):
            return self._add_name(thing)
        if id(thing) in self._seen:
            return self._say("seen", self._seen[id(thing)][0])
        self._seen[id(thing)] = (len(self._seen), thing)
        self._path.append(name)
        self._add_structure(thing)
        self._path.pop()
        return None

    def _add_structure(self, thing: Any) -> None:
        own = isinstance(thing, Tensor) and type(thing) not in (Tensor, nn.Parameter)
        if own or isinstance(thing, Mapping | Set | list | tuple):  # a subclass may hold more than its items
            self._add_name(type(thing))
            self._add_parts(**dict(_attributes(thing)))
        if isinstance(thing, defaultdict):
            self._add_parts(default=thing.default_factory)
        match thing:
            case Tensor() | np.ndarray() if _is_plain(thing):
                self._add_array(thing)
            case PurePath() | ModuleType():
                self._say(type(thing).__name__, getattr(thing, "__name__", thing))
            case MethodType():
                self._add_parts(function=thing.__func__, of=thing.__self__)
            case FunctionType():
                self._add_function(thing)
            case BuiltinFunctionType():
                self._say(thing.__module__, thing.__qualname__)
                self._add(None if isinstance(thing.__self__, ModuleType) else thing.__self__)
            case partial():
                self._add_parts(function=thing.func, arguments=thing.args, named=thing.keywords)
            case Mapping():
                self._say(len(thing))
                for key, value in thing.items():
                    self._add(key)
                    self._add(value, str(key))
            case Set():
                self._say(*sorted(self._alone(one) for one in thing))
            case list() | tuple():
                self._say(len(thing))
                for place, value in enumerate(thing):
                    self._add(value, str(place))
            case _:
                self._add_object(thing)

    def _add_name(self, thing: Any) -> None:
        self.modules.add(thing.__module__)
        self._say(thing.__module__, thing.__qualname__)

    def _add_parts(self, /, **parts: Any) -> None:
        for name, value in parts.items():
            self._say(name)
            self._add(value, name)

    def _alone(self, thing: Any) -> str:
        other = Fingerprint()
        found = other.of(thing)
        self.modules |= other.modules
        return found

    def _add_array(self, array: Any) -> None:
        if isinstance(array, Tensor):
            try:
                values = array.detach().cpu().resolve_conj().contiguous()
                array = values.reshape(-1).view(torch.uint8).numpy() if values.numel() else np.zeros(0)
            except (RuntimeError, TypeError, NotImplementedError) as error:  # a class that holds no values
                raise self._unknown(type(array)) from error
            self._say("array", values.dtype, tuple(values.shape))
        elif array.dtype.hasobject:
            return self._add(array.tolist())
        else:
            self._say("array", array.dtype, array.shape)
        return self._say(np.ascontiguousarray(array).tobytes())

    def _add_function(self, function: FunctionType) -> None:
        original = getattr(function, "_torchdynamo_orig_callable", None)
        if original is not None:
            return self._add_parts(compiled=original)
        self._add_name(function)
        held = [cell.cell_contents for cell in function.__closure__ or ()]
        if "<lambda>" in function.__qualname__:  # there may be several of that name
            self._say(function.__code__.co_firstlineno)
        self._add_parts(defaults=function.__defaults__, named=function.__kwdefaults__, held=held)
        noted = ("__", "_torch", "_dynamo")  # by functools and by torch's compiler
        return self._add_parts(
            **{name: value for name, value in vars(function).items() if not name.startswith(noted)}
        )

    def _add_object(self, thing: Any) -> None:
        kind = type(thing)
        self._add_name(kind)
        if isinstance(thing, GraphModule):  # its nodes hang together in a chain too long to follow
            self._say(thing.code)
        if _is_of_python(kind):
            self._add_parts(**dict(sorted(_attributes(thing))))
            return
        try:
            reduced = thing.__reduce_ex__(4)
        except Exception as error:  # of any class, for any reason
            raise self._unknown(kind) from error
        parts = [list(part) if isinstance(part, Iterator) else part for part in reduced]
        self._add(reduced if isinstance(reduced, str) else parts, "state")

    def _unknown(self, kind: type) -> NoFingerprintError:
        where, what = ".".join(filter(None, self._path)), f"{kind.__module__}.{kind.__qualname__}"
        return NoFingerprintError(f"{where}, a {what}, cannot be told from others of its kind")


def _is_plain(array: Any) -> bool:
    """Tell whether an array is its values in their places, not some of them, or with a mask."""
    if isinstance(array, Tensor):
        return array.layout is torch.strided and not (array.is_meta or array.is_nested)
    return type(array) is np.ndarray


def _is_of_python(kind: type) -> bool:
    """Tell whether all of an object's state is in its attributes: whether they fill its memory."""
    slots = sum(len([*_slots(base)]) for base in kind.__mro__)
    # Some versions of Python hold these two outside of it, and tell by a negative offset.
    others = (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    filled = object.__basicsize__ + (slots + others) * _POINTER
    return (slots > 0 or kind.__dictoffset__ != 0) and (kind.__basicsize__, kind.__itemsize__) == (filled, 0)


def _slots(kind: type) -> Iterator[str]:
    """Find the attributes for which a class itself has a place, by the names that they have in objects."""
    slots = vars(kind).get("__slots__", ())
    for name in (slots,) if isinstance(slots, str) else slots:
        if name not in ("__dict__", "__weakref__"):
            is_private = name.startswith("__") and not name.endswith("__")
            yield f"_{kind.__name__.lstrip('_')}{name}" if is_private else name


def _attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    passing = {*getattr(type(thing), "run_state", ())}
    if isinstance(thing, nn.Module):
        passing |= _PASSING
    if isinstance(thing, GraphModule):
        passing |= {"_graph", "_code"}
    for name, value in getattr(thing, "__dict__", {}).items():
        if name not in passing and not (name == _HYPERPARAMETERS and not value):
            is_counted = isinstance(value, Mapping) and name.endswith("_hooks")
            yield name, list(value.values()) if is_counted else value
    for base in type(thing).__mro__:
        for name in _slots(base):
            if hasattr(thing, name):
                yield name, getattr(thing, name)
