"""The way of an error through jsonargparse, which wraps it at every level of a nested setting."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from traceback import walk_tb
from types import FrameType
from typing import Any

from dds.errors import InputError

_CHECK = "adapt_typehints"  # jsonargparse's function that holds one value against one type
_NAMING = ("_check_type", "instantiate_classes")  # of its actions: one for each name in a setting


@dataclass(frozen=True)
class Trail:
    """Where an error comes from.

    Attributes:
        error: What was raised first.
        frames: The calls on the way, outermost first.
    """

    error: BaseException
    frames: tuple[FrameType, ...]

    @property
    def setting(self) -> str:
        """The setting that was being read or built, e.g. `protocol.attacks.pgd.norm`."""
        return "".join(_steps(self.frames)).lstrip(".")

    @property
    def expected(self) -> Any:
        """The type that the innermost value was held against; None: there was none."""
        return self.locals(_CHECK).get("typehint")

    @property
    def given(self) -> Any:
        """That value, as the user wrote it."""
        here = self.locals(_CHECK)
        return here.get("val_input", here.get("val"))

    @property
    def is_foreign(self) -> bool:
        """Whether it was raised by what is being built, not by a check of the settings."""
        return _is_foreign(self.error)

    def locals(self, function: str) -> Mapping[str, Any]:
        """Return the variables of the innermost call of one of jsonargparse's functions."""
        calls = (frame for frame in reversed(self.frames) if _is(frame, function))
        return next((frame.f_locals for frame in calls), {})


def follow(error: BaseException, before: tuple[FrameType, ...] = ()) -> Trail:
    """Follow an error to where it began; where a value fits no type of a union, by the type it fits best.

    Args:
        error: The error as it arrived.
        before: Calls that are known already.
    """
    frames = tuple(dict.fromkeys([*before, *(frame for frame, _ in walk_tb(error.__traceback__))]))
    if _is_foreign(error):
        return Trail(error, frames)
    if alternatives := _alternatives(frames[len(before) :]):
        trails = [follow(alternative, frames) for alternative in alternatives]
        deeper = [trail for trail in trails if _goes_beyond(trail, frames)]
        return max(deeper, key=lambda trail: len(trail.frames), default=Trail(error, frames))
    return follow(error.__cause__, frames) if error.__cause__ else Trail(error, frames)


def input_error(error: BaseException) -> InputError | None:
    """Find the user's error in what is wrapped around it, however it is wrapped."""
    return next((one for one in _reachable(error, set()) if isinstance(one, InputError)), None)


def _reachable(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    frames = tuple(frame for frame, _ in walk_tb(error.__traceback__) if _is(frame))
    group = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    context = None if error.__suppress_context__ else error.__context__
    for other in (error.__cause__, *group, *_alternatives(frames), context):
        yield from _reachable(other, seen)


def _alternatives(frames: tuple[FrameType, ...]) -> list[BaseException]:
    """Return the errors of a union's types, of which jsonargparse only keeps the texts and the first."""
    for frame in frames:
        for value in frame.f_locals.values() if _is(frame, _CHECK) else ():
            if isinstance(value, list) and value and all(isinstance(one, Exception) for one in value):
                return value
    return []


def _goes_beyond(trail: Trail, frames: tuple[FrameType, ...]) -> bool:
    """Whether something within the value is wrong, not its type."""
    further = [frame.f_code.co_name for frame in trail.frames[len(frames) :]]
    return further not in ([_CHECK], [_CHECK, "raise_unexpected_value"])


def _steps(frames: tuple[FrameType, ...]) -> Iterator[str]:
    for frame in frames:
        here = frame.f_locals
        if any(_is(frame, name) for name in _NAMING):
            yield f".{here['self'].dest}"
        elif _is(frame, "group_instantiate_class"):
            yield f".{here['group'].dest}"
        elif _is(frame, _CHECK) and isinstance(here["val"], dict) and "k" in here:
            yield f".{here['k']}"
        elif _is(frame, _CHECK) and isinstance(here["val"], list) and "n" in here:
            yield f"[{here['n']}]"


def _is_foreign(error: BaseException) -> bool:
    """Whether jsonargparse called something that failed, rather than failed itself."""
    *_, last = [None, *(frame for frame, _ in walk_tb(error.__traceback__))]
    return last is not None and (not _is(last) or _is(last, "default_class_instantiator"))


def _is(frame: FrameType, function: str | None = None) -> bool:
    """Whether a call is of jsonargparse's (or argparse's), and of a function of this name."""
    module = frame.f_globals.get("__name__", "").partition(".")[0]
    return module in ("jsonargparse", "argparse") and function in (None, frame.f_code.co_name)
