"""The names that somebody may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is most like another, whatever its case; None where none is."""
    by_lower = {one.lower(): one for one in names}
    close = get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ` Did you mean …?`, or nothing where no name is like it."""
    like = nearest(name, names)
    return f" Did you mean {like}?" if like else ""


def siblings(key: list[str], names: Iterable[str], also: Iterable[str] = ()) -> str:
    """Say which names there are where a dotted name goes wrong, and which of them may be meant.

    Args:
        key: Its parts.
        names: All dotted names that there are.
        also: What may be meant besides, at that place.
    """
    depth, there = known_depth(key, names), [name.split(".") for name in names]
    here = dict.fromkeys(one[depth] for one in there if one[:depth] == key[:depth] and len(one) > depth)
    return f"{did_you_mean(key[depth], [*here, *also])} There are {', '.join(here)}." if here else ""


def known_depth(key: list[str], names: Iterable[str]) -> int:
    """Count the leading parts of a dotted name that exist."""
    there = [name.split(".") for name in names]
    return max(depth for depth in range(len(key)) if any(one[:depth] == key[:depth] for one in there))
