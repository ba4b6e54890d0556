"""Rows and columns of what people read: attack and attacker's sight x defence."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dds.protocol.bracket import BRACKET
from dds.protocol.conditions import CLEAN, STORED, UNSEEN

Entry = Mapping[str, Any]
"""A condition as in `summary.json`."""

Summary = Mapping[str, Any]
"""The content of `summary.json`."""

Line = tuple[str, str]
"""An attack and what the attacker sees."""

_OWN = ("same", "fixed_noise")
_SIGHTS = {
    "none": "nothing of the defence",
    "same": "the defence",
    "fixed_noise": "the defence and the very noise",
}


_UNITS = {"RMSE": "m"}


class Layout:
    """The conditions of a run by line and defence.

    Args:
        conditions: As in `summary.json`.

    Attributes:
        lines: In the order of the run.
        defences: Names as people read them: none, then by noise level, then those without one.
    """

    def __init__(self, conditions: Sequence[Entry]) -> None:
        self._cells = {(line_of(entry), defence_name(entry)): entry for entry in conditions}
        self.lines = list(dict.fromkeys(line_of(entry) for entry in conditions))
        ordered = sorted(conditions, key=lambda entry: (is_named(entry), entry["t"] or 0))
        self.defences = list(dict.fromkeys(defence_name(entry) for entry in ordered))

    def cell(self, line: Line, defence: str) -> Entry | None:
        """Return a condition; None where it was not run."""
        return self._cells.get((line, defence))

    def row(self, line: Line) -> list[Entry | None]:
        """Return a line's condition for each defence."""
        return [self.cell(line, defence) for defence in self.defences]

    def column(self, defence: str) -> list[Entry]:
        """Return the conditions that were run with a defence."""
        return [entry for line in self.lines if (entry := self.cell(line, defence))]

    def missing(self) -> Iterator[tuple[Line, str]]:
        """Find the cells that could have been run and were not.

        Where there is no defence, who sees the defence sees nothing: that cell is `none` by definition.
        """
        undefended = {defence_name(e) for e in self._cells.values() if e["defence"] is None}
        for line in self.lines:
            for defence in self.defences:
                by_definition = line[1] in _OWN and defence in undefended
                if not by_definition and self.cell(line, defence) is None:
                    yield line, defence


def defence_name(entry: Mapping[str, Any]) -> str:
    """Return a defence as people read it; a noise level by both of its names."""
    if entry["t"] is None:
        return str(entry["defence"] or "no defence")
    return f"t={entry['t']} σ={entry['sigma']:.3f}"


def utility_name(summary: Mapping[str, Any]) -> str:
    """Return the name of the utility, with its unit where it has one."""
    unit = _UNITS.get(summary["utility"])
    return f"{summary['utility']} in {unit}" if unit else str(summary["utility"])


def number(value: float | None) -> str:
    """Write a value of a metric."""
    if value is None:
        return "n/a"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def with_interval(values: Mapping[str, float | None], called: str = "") -> str:
    """Write a value and its 95 % interval, which may be called so."""
    if None in values.values():
        return number(values["value"])
    return f"{number(values['value'])} ({called}{number(values['low'])} to {number(values['high'])})"


def line_of(entry: Entry) -> Line:
    """Return the attack and what the attacker sees."""
    return entry["attack"], entry["attacker_sees"]


def line_name(line: Line) -> str:
    """Return a line as people read it."""
    attack, sees = line
    return attack if sees == UNSEEN else f"{attack}, attacker sees {sees}"


def sight_name(sees: str) -> str:
    """Return in words what an attacker sees."""
    return _SIGHTS.get(sees, sees)


def is_named(entry: Entry) -> bool:
    """Whether the defence has a name in place of a noise level."""
    return entry["defence"] is not None and entry["t"] is None


def is_attacked(entry: Entry) -> bool:
    """Whether there is an attacker: neither a clean image nor a control."""
    return bool(entry["attacker_sees"] != UNSEEN)


def is_clean(entry: Entry) -> bool:
    """Whether nothing was done to the image before the defence."""
    return bool(entry["attack"] == CLEAN)


def is_bracket(entry: Entry) -> bool:
    """Whether it is an attack at a certified radius, which is another budget at each noise level."""
    attack: str = entry["attack"]
    return attack.startswith(BRACKET) and not attack.endswith(STORED)


def sees_defence(entry: Entry) -> bool:
    """Whether the attacker sees the very defence in use; where there is none, every bare attacker does."""
    return entry["attacker_sees"] in (*_OWN, entry["defence"] or "none")
