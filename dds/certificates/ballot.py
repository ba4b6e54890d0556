import numpy as np
from numpy.typing import NDArray

from dds.certificates.asked import Asked
from dds.certificates.bounds import Floats
from dds.certificates.sequential import verdict_together


class Ballot:
    """Yes or no to one or more questions about an image, counted draw by draw until each radius is decided.

    A radius is decided at the draw after which each question is certified (all that are together at alpha)
    or given up, or at the last one. What counts is what stood then.

    Args:
        counts: `[Q]` the questions that count; the others' numbers are -1.
        asked: Radii, alpha and the most draws.

    Attributes:
        yes: `[R, Q]` how often each was answered by yes until each radius was decided.
        draws: `[R]` of how many.
    """

    def __init__(self, counts: NDArray[np.bool_], asked: Asked) -> None:
        self._counts, self._asked = counts, asked
        self.yes = np.zeros((len(asked.ratios), len(counts)), dtype=int)
        self.yes[:, ~counts] = -1
        self.draws = np.zeros(len(asked.ratios), dtype=int)
        self._open = list(range(len(asked.ratios))) if counts.any() else []

    @property
    def is_open(self) -> bool:
        """Whether another draw is needed."""
        return bool(self._open)

    def take(self, answers: Floats) -> None:
        """Count one more draw.

        Args:
            answers: `[Q]`, 1 for yes and 0 for no.
        """
        for place in self._open:
            self.draws[place] += 1
            self.yes[place, self._counts] += answers[self._counts].astype(int)
        self._open = [place for place in self._open if not self._is_decided(place)]

    def _is_decided(self, place: int) -> bool:
        yes, draws = self.yes[place, self._counts], int(self.draws[place])
        verdicts = verdict_together(yes, draws, self._asked.ratios[place], self._asked.alpha)
        return draws >= self._asked.max_draws or not (verdicts == "open").any()
