"""Attacks at the radii that are certified: a certificate bounds what is left from below, they from above."""

from collections.abc import Mapping

from dds.attacks import PGD, Attack
from dds.protocol.conditions import Condition
from dds.protocol.defences import Defence
from dds.protocol.plan import Craft

BRACKET = "pgd_l2@"
"""How the names of these attacks begin; a user's own have no `@`."""

DRAWS = 20
"""Noise draws, at most, on which an attacked image is evaluated."""

_STEPS = 10
_WITHIN = 1 - 1e-5  # of the radius, so that rounding in float32 does not lead out of it


class Bracket:
    """PGD in the L2 ball of each certified radius, through the very purifier that is certified.

    That is sound: the attacker's noise is drawn from other streams than what the attacked image is shown
    through, and all of it from others than the certificate's.

    Args:
        radii: For each defence, what is certified: L2 radii by their names, such as `0.25sigma`; one of 0
            leaves nothing to attack.
        draws: Noise draws of the certificates; attacked images get as many, up to `DRAWS`.

    Attributes:
        attacks: The attacks by name; where one has several radii, that of the first defence.
        radii: The radius of each condition that is to be measured.
    """

    def __init__(self, radii: Mapping[Defence, Mapping[str, float]], draws: int) -> None:
        self.radii = {
            Condition(f"{BRACKET}{name}", "same", (defence,), defence, min(draws, DRAWS)): radius
            for defence, named in radii.items()
            for name, radius in named.items()
            if radius
        }
        self._attacks = {(one.attack, one.through): _attack(radius) for one, radius in self.radii.items()}
        self.attacks: dict[str, Attack] = {}
        for (name, _), attack in self._attacks.items():
            self.attacks.setdefault(name, attack)

    def attack_of(self, craft: Craft) -> Attack:
        """Return the attack of the radius that is certified of the defence it is made through."""
        return self._attacks[craft.attack, craft.through]


def _attack(radius: float) -> PGD:
    """Return PGD whose steps reach the ball's far side, as is usual: 2.5 radii in all (Madry et al. 2018)."""
    eps = radius * _WITHIN
    return PGD(eps=eps, step_size=2.5 * eps / _STEPS, steps=_STEPS, norm="l2")
