from collections.abc import Mapping
from typing import Any

from rich.table import Table


def certificate_table(certificates: Mapping[str, Any]) -> Table:
    """Show what is guaranteed: a row for each level, score and kind, a column for each radius.

    Args:
        certificates: Those of `summary.json`.
    """
    entries = certificates["entries"]
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for entry in entries:
        level = f"{entry['defence']} σ={entry['sigma']:.3f}"
        groups.setdefault((level, entry["score"], entry["kind"]), []).append(entry)
    sure = f"{1 - certificates['alpha']:.10g}"
    table = Table(title=f"Certified, L2, at confidence {sure}: {certificates['draws']} draws an image")
    for name in ("defence", "score", "kind", "clean mean"):
        table.add_column(name, justify="right" if name == "clean mean" else "left")
    for place in range(max(map(len, groups.values()), default=0)):
        table.add_column(f"radius {place + 1}", justify="right")
    for (level, score, kind), group in groups.items():
        cells = [f"{entry['value']:.3f}\nr={entry['radius']:.3g}" for entry in group]
        table.add_row(level, score, kind, f"{group[0]['mean']:.3f}", *cells)
    return table


def certificate_lines(certificates: Mapping[str, Any]) -> list[str]:
    """Say in words what the values speak of, and what is not certified."""
    kinds = [f"{kind}: {meaning}." for kind, meaning in certificates["statements"].items()]
    refused = [f"{name}: {reason}" for name, reason in certificates["refused"].items()]
    return [*kinds, *_draws_taken(certificates), *refused]


def _draws_taken(certificates: Mapping[str, Any]) -> list[str]:
    """Say how many draws were enough where an image is asked until it is decided."""
    if certificates.get("most") is None:
        return []
    entries = [entry for entry in certificates["entries"] if isinstance(entry.get("draws"), float)]
    taken = [
        f"{entry['defence']} {entry['score']} r={entry['radius']:.3g} {entry['draws']:.0f}"
        for entry in entries
    ]
    return [f"Draws that an image took until it was decided, of {certificates['most']}: {', '.join(taken)}."]
