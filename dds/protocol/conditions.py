"""What is compared: attack x what the attacker sees x defence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dds.protocol.defences import NOTHING, Defence, Sight

CLEAN = "clean"
UNSEEN = "-"
STORED = "@8bit"


@dataclass(frozen=True)
class Condition:
    """One cell of the grid.

    Attributes:
        attack: Name of the attack or control, or `clean`.
        attacker_sees: Name of the sight; `-` where there is no attacker.
        through: The defences that the attacker differentiates through; none: the bare task.
        defence: What the image is shown through; None for no defence.
        draws: Noise draws that are evaluated.
        fixed_noise: Whether the attacker knows the noise of each draw, so that each has an attack of its own.
        eight_bit: Whether the attacked image is rounded as in an 8-bit file before it is shown.
    """

    attack: str
    attacker_sees: str
    through: tuple[Defence, ...]
    defence: Defence | None
    draws: int
    fixed_noise: bool = False
    eight_bit: bool = False

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Condition":
        """Make a condition of what `dataclasses.asdict` made of one, also after a way through JSON."""
        defence = fields["defence"]
        made = {
            "through": tuple(Defence.from_dict(one) for one in fields["through"]),
            "defence": None if defence is None else Defence.from_dict(defence),
        }
        return cls(**{**fields, **made})

    @property
    def name(self) -> str:
        """What is done to the image, e.g. `pgd`, or `pgd@8bit` where it is stored then."""
        return f"{self.attack}{STORED}" if self.eight_bit else self.attack

    @property
    def key(self) -> str:
        """The condition's name everywhere, e.g. `pgd/none/t145` or `clean/-/t0` (t0: no defence)."""
        return f"{self.name}/{self.attacker_sees}/{self.defence or 't0'}"

    @property
    def straight_through(self) -> bool:
        """Whether the attacker's gradient passes some step of a defence as if it were not there."""
        return not all(defence.differentiable for defence in self.through)


def list_conditions(
    attacks: Iterable[str],
    sights: Sequence[Sight],
    defences: Sequence[Defence],
    draws: int,
    controls: Iterable[str] = (),
    eight_bit: bool = False,
) -> list[Condition]:
    """List the conditions of an evaluation; no defence is always among them.

    With no defence, an attacker who sees the same as the defender sees the bare task, so `same`,
    `fixed_noise` and `none` are one condition there, called `none`.

    Args:
        attacks: Names of the attacks.
        sights: What attackers see.
        defences: What images are shown through.
        draws: Noise draws of each view through a random defence.
        controls: Names of transformations without an attacker.
        eight_bit: Whether each attacked image is shown once more as an 8-bit file would hold it.
    """
    shown = [None, *defences]
    unattacked = [Sight(UNSEEN)]
    storages = (False, True) if eight_bit else (False,)
    cells = [
        replace(_condition(name, sight, defence, draws), eight_bit=stored)
        for names, seen, kept in (([CLEAN, *controls], unattacked, (False,)), (attacks, sights, storages))
        for name in names
        for stored in kept
        for sight in seen
        for defence in shown
    ]
    return list(dict.fromkeys(cells))


def _condition(attack: str, sight: Sight, defence: Defence | None, draws: int) -> Condition:
    draws = draws if defence is not None and defence.random else 1
    if sight.name not in ("same", "fixed_noise"):
        return Condition(attack, sight.name, sight.through, defence, draws)
    if defence is None:
        return Condition(attack, NOTHING.name, (), None, draws)
    fixed = sight.name == "fixed_noise" and defence.random
    return Condition(attack, sight.name, (defence,), defence, draws, fixed)
