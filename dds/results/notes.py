"""What a reader must know to read the numbers."""

from collections.abc import Iterator, Mapping
from typing import Any

from dds.batch import BROKEN_GRADIENT


def notes(summary: Mapping[str, Any]) -> list[str]:
    """Say in words under which conditions an attack was weaker than its name promises.

    Args:
        summary: The content of `summary.json`.
    """
    return [*_straight_through(summary), *_broken_gradients(summary)]


def _straight_through(summary: Mapping[str, Any]) -> Iterator[str]:
    keys = [entry["key"] for entry in summary["conditions"] if entry["straight_through"]]
    if keys:
        yield (
            "straight-through gradients (the defence has none of its own, so its step counts as the identity "
            f"in the attack's backward pass): {_list(keys)}"
        )


def _broken_gradients(summary: Mapping[str, Any]) -> Iterator[str]:
    shares = {e["key"]: e["metrics"].get(BROKEN_GRADIENT, {}).get("value") for e in summary["conditions"]}
    counts = {key: round(share * summary["images"]) for key, share in shares.items() if share}
    if counts:
        yield (
            "gradients that were not finite, replaced by 0; those attacks may be too weak: "
            f"{_list([f'{key} ({count} images)' for key, count in counts.items()])}"
        )


def _list(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
