from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from dds.certificates.asked import Asked, Way
from dds.certificates.bounds import Floats, check_alpha
from dds.certificates.score import check_ratios
from dds.certificates.sequential import draws_until_certain
from dds.certificates.vote import draws_needed
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
        kinds: `score`, the expected score of the defence as it is deployed; `vote`, what holds of the answer
            that most draws give. Default: all that the task has.
        selection_draws: Further draws that choose an answer for the others to confirm, where votes need
            that: the class of each pixel (n0 of Cohen et al., ICML 2019).
        max_draws: Draws of an image at most where votes say yes or no; each takes as many as it needs.
        images: Of the data's images, how many are certified at most.
        attack: Whether the clean images are attacked at each radius, through the purifier, to see that the
            score under attack stays above what is certified.

    Raises:
        InputError: If one of them cannot be meant.
    """

    def __init__(
        self,
        radii: Sequence[float | str] | None = None,
        alpha: float = 0.001,
        draws: int = 100,
        kinds: Sequence[Kind] | None = None,
        selection_draws: int = 10,
        max_draws: int = 500,
        images: int = 8,
        attack: bool = False,
    ) -> None:
        given = plain(radii)
        self.radii = None if given is None else sorted({real("certificate.radii", one) for one in given})
        self.alpha = check_alpha(real("certificate.alpha", alpha))
        self.draws = whole("certificate.draws", draws)
        self.selection_draws = whole("certificate.selection_draws", selection_draws)
        self.max_draws = whole("certificate.max_draws", max_draws)
        self.images = whole("certificate.images", images)
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

    def asked(self, sigma: float, chooses: bool) -> Asked:
        """Return what is asked of the votes at a noise level.

        Args:
            sigma: Of the level.
            chooses: Whether some draws choose.
        """
        ratios = tuple(self.ratios(sigma).tolist())
        return Asked(ratios, self.alpha, self.selection_draws if chooses else 0, self.max_draws)

    def kinds_of(self, task: str, votes: Mapping[str, Way]) -> list[Kind]:
        """Return the kinds that are certified of a task.

        Args:
            task: Its name.
            votes: What votes are certified of.

        Raises:
            InputError: If votes are asked of a task that has none.
        """
        if self.kinds is not None and "vote" in self.kinds and not votes:
            raise InputError(
                f"certificate.kinds holds vote, but {task} names nothing that draws vote on; expected score "
                "alone."
            )
        possible: list[Kind] = ["score", "vote"] if votes else ["score"]
        return [kind for kind in possible if self.kinds is None or kind in self.kinds]

    def check_reach(
        self, sigmas: Mapping[Any, float], kinds: Sequence[Kind], votes: Mapping[str, Way], answers: int = 1
    ) -> None:
        """Refuse radii that votes cannot prove at any noise level, whatever is drawn.

        Args:
            sigmas: Of each noise level.
            kinds: What is certified.
            votes: What votes are certified of.
            answers: How many answers about an image are certified together, where they are bounded.

        Raises:
            InputError: Saying how many draws are needed.
        """
        sigma = max(sigmas.values())
        least = min(self.radii or [RATIOS[0] * sigma])
        for way in dict.fromkeys(votes.values() if "vote" in kinds else ()):
            option, given = ("max_draws", self.max_draws) if way == "yes or no" else ("draws", self.draws)
            needed = draws_until_certain(least / sigma, self.alpha)
            if way != "yes or no":
                needed = draws_needed(least / sigma, self.alpha, answers)
            if given < needed:
                enough = f"certificate.{option} of at least {needed:.10g}, " if np.isfinite(needed) else ""
                raise InputError(
                    f"votes of {given} draws prove no radius of {least:.4g} at alpha={self.alpha:g}, even "
                    f"if all agree at the largest sigma, {sigma:.4g}; expected {enough}smaller radii, or "
                    "certificate.kinds=[score]."
                )
