"""Whether an answer holds at a radius, asked with as many draws as it needs (Voracek, NeurIPS 2024).

After N draws of which A agree, the mixture of all probabilities by Krichevsky & Trofimov, against one p0, is
evidence that may be looked at after every draw: it exceeds 1 / alpha at any time with probability alpha at
most if p0 is the truth (Ville 1939), and likewise, in the direction away from it, if the truth lies beyond.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, ndtr, ndtri, xlog1py, xlogy

from dds.certificates.bounds import Floats, check_alpha
from dds.certificates.vote import holm

Verdict = Literal["certified", "given up", "open"]

GIVE_UP = 0.05
"""Probability of giving up what could have been certified; it costs no soundness."""

_HALVINGS = 60
_NEVER = 1e12


def evidence(agreeing: ArrayLike, draws: ArrayLike, probability: ArrayLike) -> Floats:
    """Return the logarithm of the evidence against a probability (arXiv 2406.17830).

    `ln B(A + 1/2, N - A + 1/2) - ln B(1/2, 1/2) - A ln p0 - (N - A) ln(1 - p0)`.

    Args:
        agreeing: A, how many draws agree, any shape.
        draws: N, of how many.
        probability: p0, in [0, 1].
    """
    agreeing, draws = np.asarray(agreeing, float), np.asarray(draws, float)
    mixture = betaln(agreeing + 0.5, draws - agreeing + 0.5) - betaln(0.5, 0.5)
    return np.asarray(
        mixture - xlogy(agreeing, probability) - xlog1py(draws - agreeing, -np.asarray(probability))
    )


def verdict(
    agreeing: ArrayLike, draws: ArrayLike, ratio: float, alpha: float, give_up: float = GIVE_UP
) -> NDArray[np.str_]:
    """Decide, after any draw, whether an answer holds within a radius.

    Args:
        agreeing: How many draws gave the answer, which others, not among these, have chosen; any shape.
        draws: Of how many.
        ratio: r / sigma, both in [0, 1] pixel units.
        alpha: Probability of certifying what does not hold, over all times together.
        give_up: Probability of giving up what holds.

    Returns:
        `certified`, `given up`, or `open`: more draws are needed.
    """
    needed = ndtr(ratio)
    weight = evidence(agreeing, draws, needed)
    above = np.asarray(agreeing) > needed * np.asarray(draws)
    certified = above & (weight >= -np.log(check_alpha(alpha)))
    given_up = ~above & (weight >= -np.log(check_alpha(give_up)))
    return np.where(certified, "certified", np.where(given_up, "given up", "open"))


def verdict_together(agreeing: ArrayLike, draws: int, ratio: float, alpha: float) -> NDArray[np.str_]:
    """Decide, after any draw, which of several answers hold, all of those told together.

    The evidence against what is true exceeds any limit with a probability of at most its inverse, so that
    inverse is a p-value, which is corrected as Holm did. One answer alone is decided as by `verdict`.

    Args:
        agreeing: `[Q]` how many draws gave each answer.
        draws: Of how many.
        ratio: r / sigma.
        alpha: Probability that any of those told does not hold.

    Returns:
        `[Q]`, as `verdict` does.
    """
    verdicts = verdict(agreeing, draws, ratio, alpha)
    above = np.asarray(agreeing) > ndtr(ratio) * draws
    chance = np.exp(-np.maximum(evidence(agreeing, draws, ndtr(ratio)), 0))
    certified = holm(np.where(above, chance, 1.0), alpha)
    return np.where(certified, "certified", np.where(verdicts == "given up", "given up", "open"))


def draws_until_certain(ratio: float, alpha: float) -> float:
    """Return after how many draws, all of them agreeing, an answer is certified; infinite far beyond sigma.

    Args:
        ratio: r / sigma.
        alpha: Probability of error.
    """
    low, high = 0, 1
    while evidence(high, high, ndtr(ratio)) < -np.log(check_alpha(alpha)):
        low, high = high, 2 * high
        if high > _NEVER:
            return np.inf
    while high - low > 1:
        middle = (low + high) // 2
        enough = evidence(middle, middle, ndtr(ratio)) >= -np.log(alpha)
        low, high = (low, middle) if enough else (middle, high)
    return float(high)


def anytime_lower_bound(agreeing: ArrayLike, draws: ArrayLike, alpha: float) -> Floats:
    """Bound a probability from below after any draw: the least that the evidence does not refute.

    Args:
        agreeing: How many draws agree, any shape.
        draws: Of how many, broadcast against it.
        alpha: Probability that the bound is ever above the truth, at most.
    """
    agreeing, draws = np.broadcast_arrays(np.asarray(agreeing, float), np.asarray(draws, float))
    low, high = np.zeros(agreeing.shape), agreeing / np.maximum(draws, 1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        refuted = evidence(agreeing, draws, middle) >= -np.log(check_alpha(alpha))
        low, high = np.where(refuted, middle, low), np.where(refuted, high, middle)
    return low


def anytime_radius(agreeing: ArrayLike, draws: ArrayLike, sigma: float, alpha: float) -> Floats:
    """Return within which radius an answer holds, after any draw; NaN: within none.

    Args:
        agreeing: How many draws gave the answer, which others have chosen.
        draws: Of how many.
        sigma: Of the noise, in [0, 1] pixel units.
        alpha: Probability that the radius is ever too large, at most.
    """
    bound = anytime_lower_bound(agreeing, draws, alpha)
    return np.where(bound > 0.5, sigma * ndtri(bound), np.nan)
