"""What has to be computed for the conditions, each thing once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rich.table import Table

from dds.attacks.base import Attack
from dds.attacks.objectives import Calls
from dds.models.schedule import NoiseLevel
from dds.protocol.conditions import CLEAN, Condition


@dataclass(frozen=True)
class Craft:
    """An image that is made once, and the defences it is shown through.

    Attributes:
        attack: Name of the attack, or `clean`: the image as it is.
        through: The purifier's level that the attacker sees; None for the bare task.
        shows: For each defence, the conditions that share what the task makes of it.
    """

    attack: str
    through: NoiseLevel | None
    shows: dict[NoiseLevel | None, list[Condition]] = field(default_factory=dict)


NO_CALLS = Calls()


@dataclass(frozen=True)
class Cost:
    """Calls of both networks, for one image."""

    task: Calls = NO_CALLS
    purifier: Calls = NO_CALLS

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.task + other.task, self.purifier + other.purifier)


@dataclass(frozen=True)
class Plan:
    """The work for one image.

    Attributes:
        conditions: All conditions, in the order of the tables.
        crafts: What is computed, in that order.
    """

    conditions: list[Condition]
    crafts: list[Craft]

    @classmethod
    def of(cls, conditions: Iterable[Condition]) -> "Plan":
        """Share the work of conditions that need the same image or the same view of it."""
        conditions = list(conditions)
        crafts: dict[tuple[str, NoiseLevel | None], Craft] = {}
        for condition in conditions:
            key = (condition.attack, condition.through)
            craft = crafts.setdefault(key, Craft(*key))
            craft.shows.setdefault(condition.defence, []).append(condition)
        return cls(conditions, list(crafts.values()))

    def cost(self, attacks: Mapping[str, Attack], purifier_calls: int) -> Cost:
        """Count the network calls of one image.

        Args:
            attacks: The attacks by name.
            purifier_calls: Network calls of one purification.
        """
        total = Cost()
        for craft in self.crafts:
            total += craft_cost(craft, attacks, purifier_calls)
            for defence, shared in craft.shows.items():
                looks = Calls(forward=shared[0].draws)
                total += Cost(looks, looks * purifier_calls if defence else NO_CALLS)
        return total

    def table(self, attacks: Mapping[str, Attack], purifier_calls: int) -> Table:
        """Show what will be computed and what it costs."""
        table = Table(title="Plan: network calls for one image (forward + backward)")
        for column in ("conditions", "crafted once, task", "crafted once, purifier"):
            table.add_column(column, justify="left" if column == "conditions" else "right")
        for craft in self.crafts:
            cost = craft_cost(craft, attacks, purifier_calls)
            keys = [condition.key for shared in craft.shows.values() for condition in shared]
            table.add_row("\n".join(keys), _show(cost.task), _show(cost.purifier))
        total = self.cost(attacks, purifier_calls)
        table.add_section()
        table.add_row("all, with evaluation", _show(total.task), _show(total.purifier))
        return table


def craft_cost(craft: Craft, attacks: Mapping[str, Attack], purifier_calls: int) -> Cost:
    """Count the network calls of making one image."""
    if craft.attack == CLEAN:
        return Cost()
    attack = attacks[craft.attack]
    purifications = attack.objective.purifier_calls(attack.calls) if craft.through else NO_CALLS
    return Cost(attack.objective.task_calls(attack.calls), purifications * purifier_calls)


def _show(calls: Calls) -> str:
    return f"{calls.forward} + {calls.backward}"
