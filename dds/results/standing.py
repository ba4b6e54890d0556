"""How defences and attacks compare: what a defence costs and keeps, and which attack leaves least."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dds.results.layout import Entry, Layout, Line, is_attacked, is_clean, is_named, sees_defence
from dds.results.sanity import Values, without_curves

RULE = (
    "the best defence is the one with the best utility under the worst of all attacks on it, adaptive or "
    "not; a defence without an adaptive attack is not eligible, as its worst case is not known"
)


@dataclass(frozen=True)
class Standing:
    """What a defence costs and what it keeps.

    Attributes:
        name: The defence as people read it.
        clean: The condition without attack.
        attacked: The attacks on it, the worst first.
    """

    name: str
    clean: Entry
    attacked: tuple[Entry, ...]

    @property
    def worst(self) -> Entry | None:
        """The worst attack, whatever the attacker sees."""
        return next(iter(self.attacked), None)

    @property
    def worst_adaptive(self) -> Entry | None:
        """The worst attack whose attacker sees this defence."""
        return next((entry for entry in self.attacked if sees_defence(entry)), None)

    @property
    def worst_non_adaptive(self) -> Entry | None:
        """The worst attack whose attacker knows the bare task alone."""
        return next((entry for entry in self.attacked if entry["attacker_sees"] == "none"), None)

    @property
    def is_none(self) -> bool:
        """Whether it stands for no defence."""
        return self.clean["defence"] is None


class Comparison:
    """The defences of a run, compared by `RULE`, and its attacks; points of sanity curves are left out.

    Args:
        summary: The content of `summary.json`.

    Attributes:
        metric: Name of the utility.
        layout: The conditions that are compared.
        standings: Each defence, in the order of the layout.
        undefended: No defence.
    """

    def __init__(self, summary: Mapping[str, Any]) -> None:
        self.metric: str = summary["utility"]
        self._sign = -1 if summary["lower_is_better"] else 1
        self.layout = Layout(without_curves(summary)["conditions"])
        self.standings = [self._standing(name) for name in self.layout.defences]
        self.undefended = next(standing for standing in self.standings if standing.is_none)

    def _standing(self, defence: str) -> Standing:
        entries = self.layout.column(defence)
        attacked = [e for e in entries if is_attacked(e) and self.utility(e)["value"] is not None]
        return Standing(defence, next(filter(is_clean, entries)), tuple(sorted(attacked, key=self._worth)))

    def utility(self, entry: Entry) -> Values:
        """Return a condition's utility and interval."""
        value: Values = entry["metrics"][self.metric]
        return value

    def _worth(self, entry: Entry) -> float:
        value = self.utility(entry)["value"]
        return -np.inf if value is None else self._sign * value

    def ranked(self, named: bool) -> list[Standing]:
        """Return the eligible defences, best first; equals by what they cost on clean images.

        Args:
            named: Those without a noise level, else those with one.
        """
        eligible = [s for s in self.standings if s.worst_adaptive and not s.is_none]
        chosen = [standing for standing in eligible if is_named(standing.clean) == named]
        return sorted(chosen, key=lambda s: (self._worst_worth(s), self._worth(s.clean)), reverse=True)

    def _worst_worth(self, standing: Standing) -> float:
        return -np.inf if standing.worst is None else self._worth(standing.worst)

    def improves(self, standing: Standing) -> bool:
        """Whether a defence keeps more under its worst attack than no defence does."""
        return self._worst_worth(standing) > self._worst_worth(self.undefended)

    def attacks_by_sight(self) -> dict[str, list[tuple[str, float]]]:
        """Rank the attacks of each sight by their mean utility, worst first.

        The mean is over the defences on which every attack of that sight was run.

        Returns:
            Sight to attacks and means; a sight without a common defence is left out.
        """
        sights = dict.fromkeys(sees for attack, sees in self.layout.lines if self._is_attack((attack, sees)))
        ranked = {sees: self._rank_attacks(sees) for sees in sights}
        return {sees: attacks for sees, attacks in ranked.items() if attacks}

    def _is_attack(self, line: Line) -> bool:
        return any(entry and is_attacked(entry) for entry in self.layout.row(line))

    def _rank_attacks(self, sees: str) -> list[tuple[str, float]]:
        lines = [line for line in self.layout.lines if line[1] == sees]
        columns = zip(*(self.layout.row(line) for line in lines), strict=True)
        common = [[self.utility(e)["value"] for e in column if e] for column in columns if all(column)]
        known = [column for column in common if None not in column]
        if not known:
            return []
        means = np.mean(known, axis=0).tolist()
        attacks = [attack for attack, _ in lines]
        return sorted(zip(attacks, means, strict=True), key=lambda one: self._sign * one[1])

    def telling_lines(self) -> list[Line]:
        """Return what is worth showing: the clean images and, for each sight, its worst attack."""
        clean = [line for line in self.layout.lines if is_clean(next(filter(None, self.layout.row(line))))]
        return [*clean, *((ranked[0][0], sees) for sees, ranked in self.attacks_by_sight().items())]
