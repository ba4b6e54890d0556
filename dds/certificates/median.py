"""Median smoothing: numbers whose median over noise draws is the answer (Chiang et al., NeurIPS 2020)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, ndtr

from dds.certificates.bounds import Floats, check_alpha


class Places(NamedTuple):
    """Between which sorted draws a median stays, counted from 1; 0 and n + 1 are minus and plus infinity."""

    lower: int
    upper: int


def median_places(draws: int, ratio: float, alpha: float) -> Places:
    """Find the order statistics between which a median stays within a radius.

    The lower is the greatest q with `1 - BinCDF(q - 1; n, Phi(-r / sigma)) > 1 - alpha`, the upper the least
    with `BinCDF(q - 1; n, Phi(r / sigma)) > 1 - alpha` (Chiang et al. 2020, lemma 1 and section 4).

    Args:
        draws: n.
        ratio: r / sigma, both in [0, 1] pixel units.
        alpha: Probability of error on each side.
    """
    confidence, places = 1 - check_alpha(alpha), np.arange(draws + 1)  # q - 1 = 0, ..., n
    below = 1 - bdtr(places, draws, ndtr(-ratio)) > confidence
    above = bdtr(places, draws, ndtr(ratio)) > confidence
    return Places(int(below[:draws].sum()), int(above.argmax()) + 1)


def median_interval(values: ArrayLike, ratio: float, alpha: float) -> tuple[Floats, Floats]:
    """Bound medians within a radius, all of them and on both sides together.

    The alpha is shared equally among all numbers and both sides, so that it need not be corrected again.

    Args:
        values: `[n, ...]` what n independent draws gave: a depth of each pixel, the corners of a box matched
            in each draw, a score.
        ratio: r / sigma.
        alpha: Probability that any median leaves its bounds, at most.

    Returns:
        Lower and upper bounds, `[...]` each; infinite where n draws do not suffice.
    """
    values = np.asarray(values, float)
    places = median_places(len(values), ratio, alpha / (2 * max(values[0].size, 1)))
    edge = np.full_like(values[:1], np.inf)
    ranked = np.concatenate([-edge, np.sort(values, axis=0), edge])
    return ranked[places.lower], ranked[places.upper]


def median_lower_bound(values: ArrayLike, ratio: float, alpha: float) -> float:
    """Bound the median of a score, such as the average precision of a query, from below within a radius.

    Args:
        values: `[n]` the scores of n independent draws.
        ratio: r / sigma.
        alpha: Probability that the median falls below, at most.

    Returns:
        The bound; minus infinity where n draws do not suffice.
    """
    values = np.sort(np.asarray(values, float))
    place = median_places(len(values), ratio, alpha).lower
    return float(values[place - 1]) if place else -np.inf
