import re
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from dds.numbers import number_of_images
from dds.protocol.conditions import CLEAN, UNSEEN
from dds.results.layout import defence_name

_HEADING, _FIDELITY = "attack/\nseen", "PSNR, dB"


def summary_tables(summary: Mapping[str, Any], metric: str, width: int) -> list[Table]:
    """Show one metric: a row for each attack and view, a column for each defence.

    A cell is the value and half of its 95 % interval; a condition that was not run stays empty. The last row
    tells how much of the clean image is left.

    Args:
        summary: The content of `summary.json`.
        metric: Name of the metric.
        width: Characters of a line; defences that have no room go to a further table.
    """
    entries = summary["conditions"]
    rows = _unique(_row(entry) for entry in entries)
    cells = {(_row(entry), defence_name(entry)): entry["metrics"] for entry in entries}
    defences = _unique(defence_name(entry) for entry in entries)
    columns = {defence: _column(cells, rows, metric, defence) for defence in defences}
    first = [_HEADING, *rows, _FIDELITY]
    tables = [_table(first, part) for part in _parts(columns, width - _width(first) - 1)]
    images = f"{number_of_images(summary['images'])} of {summary['data']}"
    tables[0].title = f"{metric} on {images} (± half the 95 % interval)"
    return tables


def _column(
    cells: Mapping[tuple[str, str], Mapping[str, Any]], rows: Iterable[str], metric: str, defence: str
) -> list[str]:
    """Return the heading, a cell for each row, and how much of the clean image is left."""
    measured = [cells.get((row, defence), {}) for row in rows]
    values = [_cell(metrics[metric]) if metrics else "" for metrics in measured]
    return [defence.replace(" ", "\n", 1), *values, _decibels(cells.get((CLEAN, defence), {}))]


def _parts(columns: Mapping[str, list[str]], room: int) -> list[list[list[str]]]:
    """Share columns out to tables that have so many characters left."""
    parts: list[list[list[str]]] = [[]]
    for column in columns.values():
        if parts[-1] and sum(map(_width, [*parts[-1], column])) > room:
            parts.append([])
        parts[-1].append(column)
    return parts


def _width(column: Iterable[str]) -> int:
    """Return what a column takes of a line: its longest cell, spaces, and a border."""
    return max(len(line) for cell in column for line in cell.splitlines() or [""]) + 3


def _table(first: list[str], columns: list[list[str]]) -> Table:
    table = Table(first[0])
    for heading, *_ in columns:
        table.add_column(heading, justify="right")
    *rows, last = list(zip(first, *columns, strict=True))[1:]
    for row in rows:
        table.add_row(*row)
    table.add_section()
    table.add_row(*last)
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
