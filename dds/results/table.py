import re
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from dds.protocol.conditions import CLEAN, UNSEEN


def defence_name(entry: Mapping[str, Any]) -> str:
    """Return a defence as people read it; a noise level by both of its names."""
    if entry["t"] is None:
        return str(entry["defence"] or "no defence")
    return f"t={entry['t']} σ={entry['sigma']:.3f}"


def summary_table(summary: Mapping[str, Any], metric: str) -> Table:
    """Show one metric: a row for each attack and view, a column for each defence.

    A cell is the value and half of its 95 % interval; a condition that was not run stays empty. The last row
    tells how much of the clean image is left.

    Args:
        summary: The content of `summary.json`.
        metric: Name of the metric.
    """
    entries = summary["conditions"]
    columns = _unique(defence_name(entry) for entry in entries)
    cells = {(_row(entry), defence_name(entry)): entry["metrics"] for entry in entries}
    table = Table(
        title=f"{metric} on {summary['images']} images of {summary['data']} (± half the 95 % interval)"
    )
    table.add_column("attack/\nseen", no_wrap=True)
    for column in columns:
        table.add_column(column.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for row in _unique(_row(entry) for entry in entries):
        values = [cells.get((row, column), {}) for column in columns]
        table.add_row(row, *(_cell(value[metric]) if value else "" for value in values))
    table.add_section()
    clean = [cells.get((CLEAN, column), {}) for column in columns]
    table.add_row("PSNR, dB", *(_decibels(value) for value in clean))
    return table


def _row(entry: Mapping[str, Any]) -> str:
    sees = entry["attacker_sees"]
    return str(entry["attack"]) if sees == UNSEEN else f"{entry['attack']}/{sees}"


def _cell(value: Mapping[str, float | None]) -> str:
    if value["value"] is None:
        return "n/a"
    if value["low"] is None or value["high"] is None:
        return f"{value['value']:.3f}"
    digits = 3 if abs(value["value"]) < 1 else 2  # as wide, either way
    shown = f"{value['value']:.{digits}f}±{(value['high'] - value['low']) / 2:.2f}"
    return re.sub(r"\b0\.", ".", shown)


def _decibels(metrics: Mapping[str, Any]) -> str:
    value = metrics["psnr"]["value"] if metrics else 100
    return f"{value:.1f}" if value < 100 else ""  # 100: the very image


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
