"""What is compared: attack x what the attacker sees x defence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dds.models.schedule import NoiseLevel

CLEAN = "clean"
UNSEEN = "-"


@dataclass(frozen=True)
class Condition:
    """One cell of the grid.

    Attributes:
        attack: Name of the attack, or `clean`.
        attacker_sees: As the user wrote it: `none`, `same` or a level such as `t50`; `-` for clean images.
        through: The level of the purifier that the attacker differentiates through; None for the bare task.
        defence: The level of the purifier that the image is shown through; None for no defence.
        draws: Noise draws that are evaluated.
    """

    attack: str
    attacker_sees: str
    through: NoiseLevel | None
    defence: NoiseLevel | None
    draws: int

    @property
    def key(self) -> str:
        """The condition's name everywhere, e.g. `pgd/none/t145` or `clean/-/t0` (t0: no defence)."""
        return f"{self.attack}/{self.attacker_sees}/{self.defence or 't0'}"


def list_conditions(
    attacks: Iterable[str],
    views: Sequence[str | NoiseLevel],
    levels: Sequence[NoiseLevel],
    draws: int,
) -> list[Condition]:
    """List the conditions of an evaluation; no defence is always among them.

    With no defence, an attacker who sees the same as the defender sees the bare task, so `same` and `none`
    are one condition there, called `none`.

    Args:
        attacks: Names of the attacks.
        views: What attackers see: `none`, `same`, or a level.
        levels: The defence's noise levels.
        draws: Noise draws of each purified view.
    """
    defences: list[NoiseLevel | None] = [None, *levels]
    cells: list[tuple[str, str, NoiseLevel | None, NoiseLevel | None]]
    cells = [(CLEAN, UNSEEN, None, defence) for defence in defences]
    for attack in attacks:
        for view in views:
            for defence in defences:
                through = defence if view == "same" else view if isinstance(view, NoiseLevel) else None
                name = "none" if view == "same" and defence is None else str(view)
                cells.append((attack, name, through, defence))
    return [Condition(*cell, draws if cell[3] else 1) for cell in dict.fromkeys(cells)]
