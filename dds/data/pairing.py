"""Finding pairs of files by two patterns, and parting them into training and test."""

import glob
import re
from collections.abc import Mapping
from pathlib import Path

from dds.data.base import Split
from dds.data.listing import visible
from dds.errors import InputError

Pair = tuple[Path, Path]
Files = dict[tuple[str, ...], Path]


def check_patterns(patterns: Mapping[str, str], held_out: float, remedy: str) -> None:
    """Refuse patterns that cannot be paired, and a share that is none.

    Args:
        patterns: Two, by the names of their settings; in both `*` stands for the same.
        held_out: Share of the pairs that is not trained on.
        remedy: What to do; ends the error's message.

    Raises:
        InputError: Saying which setting cannot be meant.
    """
    first, second = patterns.values()
    absolute = first.startswith("/") or second.startswith("/")
    stars = first.count("*"), second.count("*")
    if absolute or "**" in first + second or stars[0] != stars[1] or not stars[0]:
        given = " and ".join(f"data.{name}={pattern!r}" for name, pattern in patterns.items())
        raise InputError(f"{given} cannot be paired. {remedy}")
    if not 0 < held_out <= 1:
        raise InputError(f"data.held_out={held_out}; expected a share above 0, at most 1.")


def find_pairs(root: Path, images: str, others: str, kind: str, remedy: str) -> list[Pair]:
    """Return the visible files below a folder for which `*` stands for the same in two patterns.

    Args:
        root: The folder.
        images: Pattern of the images.
        others: Pattern of what belongs to them.
        kind: What that is, for the message.
        remedy: What to do if the files are not as expected; ends the errors' messages.

    Returns:
        The pairs, sorted by what `*` stands for.

    Raises:
        InputError: If there are no such files, or some have no partner.
    """
    first, second = _matches(root, images, remedy), _matches(root, others, remedy)
    alone = [path for key, path in (first | second).items() if (key in first) != (key in second)]
    if alone:
        raise InputError(
            f"{len(alone)} of {len(first)} images and {len(second)} {kind} have no partner, e.g. "
            f"{alone[0]}. {remedy}"
        )
    return [(first[key], second[key]) for key in sorted(first)]


def take_part(pairs: list[Pair], split: Split, held_out: float) -> list[Pair]:
    """Return a split's pairs: the last share `held_out` of them for `val` and `test`, the rest to train on.

    Raises:
        InputError: If nothing is left to train on.
    """
    first = len(pairs) - max(1, round(held_out * len(pairs)))
    if split != "train":
        return pairs[first:]
    if first == 0:
        raise InputError(
            f"data.held_out={held_out} holds out all {len(pairs)} pairs; training needs some. Set it to e.g. "
            "0.2."
        )
    return pairs[:first]


def _matches(root: Path, pattern: str, remedy: str) -> Files:
    """Return the files of a pattern by what each `*` stands for."""
    stars = re.compile(re.escape(pattern).replace(r"\*", "([^/]*)"))
    paths = visible(root.glob(glob.escape(pattern).replace("[*]", "*")), root)
    found = ((stars.fullmatch(path.relative_to(root).as_posix()), path) for path in paths)
    files = {match.groups(): path for match, path in found if match}
    if not files:
        raise InputError(f"no file {pattern!r} in {root}. {remedy}")
    return files
