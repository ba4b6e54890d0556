from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table


def defence_name(entry: Mapping[str, Any]) -> str:
    """Return a defence as people read it, with both names of its noise level."""
    return f"t={entry['t']} σ={entry['sigma']:.3f}" if entry["defence"] else "no defence"


def summary_table(summary: Mapping[str, Any], metric: str) -> Table:
    """Show one metric: a row for each attack and view, a column for each defence.

    A cell is the value and the half-width of its 95 % interval; a condition that was not run stays empty.

    Args:
        summary: The content of `summary.json`.
        metric: Name of the metric.
    """
    entries = summary["conditions"]
    columns = _unique(defence_name(entry) for entry in entries)
    cells = {(_row(entry), defence_name(entry)): _cell(entry["metrics"].get(metric)) for entry in entries}
    table = Table(
        title=f"{metric} on {summary['images']} images of {summary['data']} (± half the 95 % interval)"
    )
    table.add_column("attack, seen by attacker")
    for column in columns:
        table.add_column(column.replace(" ", "\n", 1), justify="right")
    for row in _unique(_row(entry) for entry in entries):
        table.add_row(row, *(cells.get((row, column), "") for column in columns))
    return table


def _row(entry: Mapping[str, Any]) -> str:
    if entry["attack"] == "clean":
        return "clean"
    sees = {"none": "bare task", "same": "same purifier"}.get(entry["attacker_sees"], entry["attacker_sees"])
    return f"{entry['attack']}, {sees}"


def _cell(value: Mapping[str, float | None] | None) -> str:
    if value is None or value["value"] is None:
        return "n/a"
    if value["low"] is None or value["high"] is None:
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} ±{(value['high'] - value['low']) / 2:.2f}".replace("0.", ".")


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
