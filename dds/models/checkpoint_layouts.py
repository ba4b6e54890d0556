"""Where in a checkpoint the weights of a network are, found by trying."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from dds.errors import InputError

Place = tuple[str, str]
"""An entry of the file, empty for the file itself, and a prefix of its names."""

NOTHING = "''"
_DEEPEST = 3  # entries within entries


def fitting(network: nn.Module, content: Mapping[str, Any]) -> Iterator[Place]:
    """Yield the entries and prefixes whose weights have all names and shapes of a network, and no more.

    Prefixes are those by which the first of the network's names is found, such as `module.` of
    `DataParallel`, `model.` of Lightning, `backbone.` or `teacher.` of training by a teacher.

    Args:
        network: The network.
        content: What the file holds.
    """
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    first = next(iter(wanted), "")
    for entry, state in _entries(content):
        for prefix in {name.removesuffix(first) for name in state if name.endswith(first)}:
            found = {name.removeprefix(prefix): value.shape for name, value in state.items()}
            if len(found) == len(state) and found == wanted:
                yield entry, prefix


def the_fitting(network: nn.Module, content: Mapping[str, Any], source: str) -> Place:
    """Return the only entry and prefix that fit.

    Raises:
        InputError: If there is none, or several.
    """
    found = sorted(fitting(network, content))
    if len(found) == 1:
        return found[0]
    told = f"several do: {shown(found)}. Name one" if found else "none does. Check the network's init_args"
    raise InputError(f"key: auto takes the one entry of {source} that fits {type(network).__name__}; {told}.")


def shown(places: list[Place]) -> str:
    """Name places as the settings that take them."""
    return "; or ".join(f"key: {entry or 'null'}, strip: {prefix or NOTHING}" for entry, prefix in places[:4])


def _entries(content: Mapping[str, Any], above: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield what in a file is tensors by name, and its dotted name."""
    if content and all(isinstance(value, Tensor) for value in content.values()):
        yield above, content
    for name, value in content.items() if depth < _DEEPEST else ():
        if isinstance(value, Mapping) and all(isinstance(inner, str) for inner in value):
            yield from _entries(value, f"{above}.{name}".lstrip("."), depth + 1)
