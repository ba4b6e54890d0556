from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dds.certificates.bounds import Floats, check_alpha
from dds.certificates.score import check_ratios
from dds.certificates.vote import draws_needed, largest_radius
from dds.errors import InputError
from dds.numbers import plain, real, whole

Kind = Literal["score", "vote"]

RATIOS = (0.25, 0.5, 1.0)
"""Radii that are certified unless others are named, in sigma of each level."""


class Certificate:
    """What is to be certified.

    Args:
        radii: L2 radii in units of an image in [0, 1]; default: .25, .5 and 1 sigma of each noise level.
        alpha: Probability that a statement is false, at most.
        draws: Noise draws of each image at each level.
        kinds: `score`, the expected score of the defence as it is deployed, of every task; `vote`, that the
            answer which most draws give is right, of tasks that answer yes or no. Default: all that the task
            has.
        attack: Whether the clean images are attacked at each radius, through the purifier, to see that the
            score under attack stays above what is certified.

    Raises:
        InputError: If one of them cannot be meant.
    """

    def __init__(
        self,
        radii: Sequence[float | str] | None = None,
        alpha: float = 0.001,
        draws: int = 50,
        kinds: Sequence[Kind] | None = None,
        attack: bool = False,
    ) -> None:
        given = plain(radii)
        self.radii = None if given is None else sorted({real("certificate.radii", one) for one in given})
        self.alpha, self.draws = (
            check_alpha(real("certificate.alpha", alpha)),
            whole("certificate.draws", draws),
        )
        self.kinds = None if kinds is None else list(kinds)
        self.attack = attack
        if self.radii is not None and not (self.radii and self.radii[0] >= 0):
            raise InputError(
                f"certificate.radii={given}; expected L2 radii of at least 0, such as [0.25, 0.5]."
            )
        if self.kinds is not None and not (self.kinds and set(self.kinds) <= {"score", "vote"}):
            raise InputError(f"certificate.kinds={kinds}; expected score, vote or both.")

    def ratios(self, sigma: float) -> Floats:
        """Return the radii in sigma of a noise level, `[R]`."""
        return check_ratios(RATIOS if self.radii is None else [radius / sigma for radius in self.radii])

    def attacked(self, sigma: float) -> dict[str, float]:
        """Return by name the radii that are attacked at a noise level; parts of sigma share a name."""
        if not self.attack:
            return {}
        if self.radii is None:
            return {f"{ratio:g}sigma": ratio * sigma for ratio in RATIOS}
        return {f"r{radius:.10g}": radius for radius in self.radii}

    def kinds_of(self, task: str, zero_or_one: Sequence[str]) -> list[Kind]:
        """Return the kinds that are certified of a task.

        Args:
            task: Its name.
            zero_or_one: Its scores that are yes or no.

        Raises:
            InputError: If votes are asked of a task that does not answer so.
        """
        if self.kinds is not None and "vote" in self.kinds and not zero_or_one:
            raise InputError(
                f"certificate.kinds holds vote, but no score of {task} is yes or no; expected score alone."
            )
        possible: list[Kind] = ["score", "vote"] if zero_or_one else ["score"]
        return [kind for kind in possible if self.kinds is None or kind in self.kinds]

    def check_reach(self, sigmas: Mapping[Any, float], kinds: Sequence[Kind]) -> None:
        """Refuse radii that votes cannot prove at any noise level, whatever is drawn.

        Args:
            sigmas: Of each noise level.
            kinds: What is certified.

        Raises:
            InputError: Saying how many draws are needed.
        """
        sigma = max(sigmas.values())
        least = min(self.radii or [RATIOS[0] * sigma])
        if "vote" in kinds and least > largest_radius(self.draws, sigma, self.alpha):
            raise InputError(
                f"votes of {self.draws} draws prove no radius of {least:.4g} at alpha={self.alpha:g}, even "
                f"if all agree at the largest sigma, {sigma:.4g}; expected certificate.draws of at least "
                f"{draws_needed(least / sigma, self.alpha):.10g}, or smaller radii."
            )
