"""What a reader must know to read the numbers."""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from dds.batch import BROKEN_GRADIENT, DOUBTFUL_GRADIENT, NOT_A_FUNCTION, NOT_FINITE, ZERO_GRADIENT
from dds.numbers import number_of_images

_MARKED = {
    NOT_FINITE: "answers, or images as the task saw them, that were not finite (NaN); they count as wrong",
    NOT_A_FUNCTION: (
        "answers that change with the other images of a batch, or when asked twice (batch statistics or "
        "dropout at test time?), over which attacks do not average"
    ),
    DOUBTFUL_GRADIENT: (
        "attacks through something whose gradient differs from what differences of the loss say (no_grad, "
        "detach or rounding inside?); they may be too weak"
    ),
    BROKEN_GRADIENT: "gradients that were not finite, replaced by 0; those attacks may be too weak",
    ZERO_GRADIENT: "gradients that were exactly 0, where attacks stand still; those attacks may be too weak",
}
"""For each mark of an image what it says of the numbers."""


def notes(summary: Mapping[str, Any]) -> list[str]:
    """Say in words which answers are none, and which attacks were weaker than their names promise.

    Args:
        summary: The content of `summary.json`.
    """
    return [*_untrained(summary), *_precision(summary), *_straight_through(summary), *_marked(summary)]


def _untrained(summary: Mapping[str, Any]) -> Iterator[str]:
    names = summary.get("untrained", [])
    if names:
        yield (
            f"{' and '.join(names)}: all norm layers are as they begin, so the weights seem to be random; "
            "were they to be loaded?"
        )


def _precision(summary: Mapping[str, Any]) -> Iterator[str]:
    if (precision := summary.get("attack_precision", "32-true")) != "32-true":
        yield f"attacks looked at the networks in {precision}, which rounds gradients; they may be too weak"


def _straight_through(summary: Mapping[str, Any]) -> Iterator[str]:
    keys = [entry["key"] for entry in summary["conditions"] if entry["straight_through"]]
    if keys:
        yield (
            "straight-through gradients (the defence has none of its own, so its step counts as the identity "
            f"in the attack's backward pass): {_list(keys)}"
        )


def _marked(summary: Mapping[str, Any]) -> Iterator[str]:
    for mark, meaning in _MARKED.items():
        shares = {e["key"]: e["metrics"].get(mark, {}).get("value") for e in summary["conditions"]}
        counts = {key: ceil(share * summary["images"] - 1e-6) for key, share in shares.items() if share}
        if counts:
            named = [f"{key} ({number_of_images(count)})" for key, count in counts.items()]
            yield f"{meaning}: {_list(named)}"


def _list(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
