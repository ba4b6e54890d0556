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
    return [*kinds, *(f"{name}: {reason}" for name, reason in certificates["refused"].items())]
