"""What has to be computed for the conditions, each thing once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from rich.table import Table

from dds.attacks.base import Attack
from dds.attacks.objectives.base import Calls
from dds.protocol.conditions import Condition
from dds.protocol.defences import NOTHING, Defence


class Shown(NamedTuple):
    """How an image that was made is shown to the task: through what, and whether stored in 8 bits before."""

    defence: Defence | None
    eight_bit: bool = False


PurifierCalls = Callable[[Defence | None, Calls], Calls]
"""How often so many purifications by a defence, and gradients through them, call its network."""


@dataclass(frozen=True)
class Craft:
    """An image that is made once, and the defences it is shown through.

    Attributes:
        attack: Name of the attack or control, or `clean`: the image as it is.
        through: The defences that the attacker sees; none: the bare task.
        fixed_noise: Whether the attacker knows the noise; then an image is made for each draw.
        shows: For each way to show it, the conditions that share what the task makes of it.
    """

    attack: str
    through: tuple[Defence, ...]
    fixed_noise: bool
    shows: dict[Shown, list[Condition]] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many images are made of one."""
        return next(iter(self.shows.values()))[0].draws if self.fixed_noise else 1

    @property
    def conditions(self) -> list[Condition]:
        """Those that the image is shown under."""
        return [condition for shared in self.shows.values() for condition in shared]

    @property
    def seen(self) -> str:
        """Name what the attacker looks through: `none`, `t50`, or several as `t10+t50`."""
        return "+".join(map(str, self.through)) or NOTHING.name

    def at_work(self, attack: Attack) -> Attack:
        """Return an attack as it is run here: with one noise draw where the attacker sees no random one."""
        random = not self.fixed_noise and any(defence.random for defence in self.through)
        return attack if random else attack.with_one_draw()


NO_CALLS = Calls()


@dataclass(frozen=True)
class Cost:
    """Calls of both networks, for one image."""

    task: Calls = NO_CALLS
    purifier: Calls = NO_CALLS

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.task + other.task, self.purifier + other.purifier)

    def __mul__(self, times: int) -> "Cost":
        return Cost(self.task * times, self.purifier * times)


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
        crafts: dict[tuple[str, tuple[Defence, ...], bool], Craft] = {}
        for condition in conditions:
            key = (condition.attack, condition.through, condition.fixed_noise)
            craft = crafts.setdefault(key, Craft(*key))
            shown = Shown(condition.defence, condition.eight_bit)
            craft.shows.setdefault(shown, []).append(condition)
        return cls(conditions, list(crafts.values()))

    def attacks(self, attacks: Mapping[str, Attack]) -> list[Attack]:
        """Return those of some attacks, by name, that are at work in it."""
        return [
            attacks[name] for name in dict.fromkeys(craft.attack for craft in self.crafts) if name in attacks
        ]

    def cost(self, attacks: Mapping[str, Attack], purifier_calls: PurifierCalls) -> Cost:
        """Count the network calls of one image, as far as they are known beforehand.

        Args:
            attacks: The attacks by name.
            purifier_calls: Network calls of purifications.
        """
        total = Cost()
        for craft in self.crafts:
            total += craft_cost(craft, attacks, purifier_calls) or Cost()
            for shown, shared in craft.shows.items():
                looks = Calls(forward=shared[0].draws)
                total += Cost(looks, purifier_calls(shown.defence, looks))
        return total

    def table(
        self,
        attacks: Mapping[str, Attack],
        purifier_calls: PurifierCalls,
        known: Sequence[str] | None = None,
    ) -> Table:
        """Show what will be computed and what it costs.

        Args:
            attacks: The attacks by name.
            purifier_calls: Network calls of purifications.
            known: For each craft, how many of its images are in the store.
        """
        table = Table(title="Plan: network calls for one image (forward + backward)")
        for column in ("conditions", "crafted once, task", "crafted once, purifier"):
            table.add_column(column, justify="left" if column == "conditions" else "right")
        if known is not None:
            table.add_column("in the store", justify="right")
        for place, craft in enumerate(self.crafts):
            cost = craft_cost(craft, attacks, purifier_calls)
            keys = [condition.key for condition in craft.conditions]
            shown = (_show(cost.task), _show(cost.purifier)) if cost else ("not known", "not known")
            table.add_row("\n".join(keys), *shown, *([known[place]] if known is not None else []))
        total = self.cost(attacks, purifier_calls)
        table.add_section()
        scope = "all that is known, with evaluation" if self.is_open(attacks) else "all, with evaluation"
        table.add_row(scope, _show(total.task), _show(total.purifier))
        return table

    def costs(
        self,
        attacks: Mapping[str, Attack],
        purifier_calls: PurifierCalls,
        known: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Say the same as the table in numbers that a script can read.

        Returns:
            `conditions`, their keys; `crafts`, for each what shows it, its calls (None: not known) and, where
            that was looked up, how many of its images are in the store;
            `total`, with evaluation; `exact`, whether that is all.
        """
        crafts = []
        for place, craft in enumerate(self.crafts):
            cost = craft_cost(craft, attacks, purifier_calls)
            entry = {
                "conditions": [condition.key for condition in craft.conditions],
                "calls": None if cost is None else asdict(cost),
            }
            crafts.append(entry | ({"in_store": known[place]} if known is not None else {}))
        return {
            "conditions": [condition.key for condition in self.conditions],
            "crafts": crafts,
            "total": asdict(self.cost(attacks, purifier_calls)),
            "exact": not self.is_open(attacks),
        }

    def is_open(self, attacks: Mapping[str, Attack]) -> bool:
        """Whether some attack's calls show only as it goes on."""
        return any(
            craft_cost(craft, attacks, lambda defence, purifications: purifications) is None
            for craft in self.crafts
        )


def craft_cost(craft: Craft, attacks: Mapping[str, Attack], purifier_calls: PurifierCalls) -> Cost | None:
    """Count the network calls of a craft; None where they show only as the attack goes on."""
    if craft.attack not in attacks:  # clean, or a control
        return Cost()
    attack, seen = craft.at_work(attacks[craft.attack]), craft.through or (None,)
    task, purifications = attack.task_calls, attack.purifier_calls
    if task is None or purifications is None:
        return None
    costs = [Cost(task, purifier_calls(defence, purifications)) for defence in seen]
    return sum(costs, Cost()) * craft.images


def _show(calls: Calls) -> str:
    return f"{calls.forward} + {calls.backward}"
