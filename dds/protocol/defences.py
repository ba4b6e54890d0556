from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor, nn

from dds.attacks.objectives.base import Calls
from dds.errors import InputError
from dds.models.diffusion.schedule import NoiseLevel
from dds.noise import Streams
from dds.numbers import plain, whole
from dds.purifiers import Purifier
from dds.purifiers.through import Through

Given = int | float | str | dict[str, float]
"""A defence as users write it: a t, `{sigma: 0.25}`, or a name."""

_RESERVED = ("none", "same", "fixed_noise")


@dataclass(frozen=True)
class Defence:
    """What images go through before the task sees them.

    Attributes:
        name: Its key everywhere: `t145` for the purifier at a noise level, else what the user calls it.
        level: The noise level; None where it has none.
        random: Whether two draws differ.
        differentiable: Whether an attacker gets its own gradient; else some of it is straight-through.
    """

    name: str
    level: NoiseLevel | None = None
    random: bool = True
    differentiable: bool = True

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Defence":
        """Make a defence of what `dataclasses.asdict` made of one."""
        level = fields["level"]
        return cls(**{**fields, "level": None if level is None else NoiseLevel(**level)})

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Sight:
    """What an attacker sees of the defence.

    Attributes:
        name: `none` (nothing), `same` (it, but not its noise), `fixed_noise` (it and the very noise of each
            draw), or the names of certain defences.
        through: Those certain defences; several: the attack is against their average.
    """

    name: str
    through: tuple[Defence, ...] = ()


NOTHING = Sight("none")
"""The sight of an attacker who knows the bare task alone."""


class Defences:
    """The purifiers of an evaluation: one at several noise levels, and others by name.

    Args:
        purifier: What works at noise levels; none: only the named ones.
        noise_levels: The levels it is evaluated at; 0 stands for no defence and is left out.
        named: The others, without noise levels.

    Raises:
        InputError: If a purifier is in the wrong place, or a name cannot be told from a level.
    """

    def __init__(
        self,
        purifier: Purifier | None,
        noise_levels: Sequence[int | float | dict[str, float]],
        named: Mapping[str, Purifier],
    ) -> None:
        self.purifier, self.named = purifier, dict(named)
        for name, other in self.named.items():
            _check_named(name, other)
        given_levels = several("noise_levels", noise_levels)
        levels = [self.read(given) for given in given_levels if given != 0] if purifier else []
        self.all = list(dict.fromkeys([*levels, *(self.read(name) for name in self.named)]))

    @property
    def purifiers(self) -> list[Purifier]:
        """Every purifier."""
        return [*([self.purifier] if self.purifier else []), *self.named.values()]

    @property
    def networks(self) -> list[nn.Module]:
        """Every network that a purifier calls, once."""
        parts = [part for purifier in self.purifiers for part in purifier.modules()]
        networks = [part.model for part in parts if isinstance(part, Purifier) and hasattr(part, "model")]
        return list(dict.fromkeys(cast(list[nn.Module], networks)))

    def read(self, given: Given) -> Defence:
        """Find a defence by what a user wrote.

        Raises:
            InputError: If there is no such thing.
        """
        if isinstance(given, str):
            if given not in self.named:
                known = ", ".join([*_RESERVED, "a t", "{sigma: value}", *self.named])
                raise InputError(f"{given!r} cannot be found; expected {known}.")
            return self._defence(given, None, self.named[given])
        if self.purifier is None:
            raise InputError(f"noise level {given} needs a purifier; name one, or leave the level out.")
        level = self.purifier.level(given if isinstance(given, dict) else _time(given))
        return self._defence(str(level), level, self.purifier)

    @staticmethod
    def _defence(name: str, level: NoiseLevel | None, purifier: Purifier) -> Defence:
        return Defence(name, level, purifier.random, purifier.differentiable)

    def sight(self, given: Given | list[Given]) -> Sight:
        """Find what an attacker sees by what a user wrote; where there is no defence, it is nothing.

        Raises:
            InputError: If there is no such thing.
        """
        given = plain(given)
        if isinstance(given, list | tuple):
            through = tuple(self.read(one) for one in given)
            return Sight("+".join(str(defence) for defence in through), through)
        if given in ("none", 0):
            return NOTHING
        if given in ("same", "fixed_noise"):
            return Sight(str(given)) if self.all else NOTHING
        defence = self.read(given)
        return Sight(str(defence), (defence,))

    def purify(self, defence: Defence | None, image: Tensor, streams: Streams) -> Tensor:
        """Show images `[B, 3, H, W]` through a defence; None: as they are."""
        return self.through(defence)(image, streams)

    def through(self, defence: Defence | None, known: Streams | None = None) -> Through:
        """Return what an attacker looks through; `known` are the streams of the noise in use, if it is."""
        if defence is None:
            return Through()
        return Through(self.purifier_of(defence), defence.level, known and replace(known, index=()))

    def calls(self, defence: Defence | None) -> int:
        """Count the network calls of one purification."""
        return 0 if defence is None else self.purifier_of(defence).calls(cast(NoiseLevel, defence.level))

    def spend(self, defence: Defence | None, purifications: Calls) -> Calls:
        """Count the network calls of so many purifications and of gradients through them."""
        if defence is None:
            return Calls()
        again = self.purifier_of(defence).calls_again(cast(NoiseLevel, defence.level))
        return purifications * self.calls(defence) + Calls(forward=purifications.backward * again)

    def purifier_of(self, defence: Defence) -> Purifier:
        """Return the purifier behind a defence."""
        purifier = self.named.get(defence.name, self.purifier)
        assert purifier is not None
        return purifier


def several(name: str, given: Any) -> list[Any]:
    """Return what must be a list as one.

    Raises:
        InputError: If it is a single thing.
    """
    given = plain(given)
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InputError(f"{name}={given}; expected a list, such as [{given}].")
    return [plain(one) for one in given]


def _time(given: Any) -> int:
    """Read a t; a fraction of one is a standard deviation in the wrong place."""
    if isinstance(given, float) and 0 < given < 1:
        raise InputError(f"noise level {given} is no t; write {{sigma: {given}}} for a standard deviation.")
    return whole("noise level", given, least=None)


def _check_named(name: str, purifier: Purifier) -> None:
    if not name or "/" in name or name in _RESERVED or (name[0] == "t" and name[1:].isdigit()):
        raise InputError(
            f"a defence cannot be called {name!r}; choose a name without '/' that is no noise level such as "
            f"t145 and none of {', '.join(_RESERVED)}."
        )
    if purifier.has_levels:
        raise InputError(
            f"{type(purifier).__name__} works at noise levels; set it as protocol.purifier, not under "
            "protocol.defences."
        )
