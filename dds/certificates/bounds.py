"""Lower confidence bounds of a mean from independent draws."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from dds.errors import InputError

Floats = NDArray[np.float64]

BETS = np.sin(np.pi / 2 * (np.arange(32) + 0.5) / 32) ** 2
"""Shares of the capital that are bet, spread as in Jeffreys' prior: dense near 0 and 1."""

_STEPS = 2**15  # to so many values what is bet on is rounded down, so that equal ones are computed once
_HALVINGS = 25
_ROUNDING = 1e-6  # what float32 may leave of a score in [0, 1]


def check_alpha(alpha: float) -> float:
    """Refuse what is no probability of error.

    Raises:
        InputError: If it is not strictly between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha={alpha}; expected a probability of error between 0 and 1, such as 0.001.")
    return alpha


def clopper_pearson(successes: ArrayLike, draws: ArrayLike, alpha: float) -> Floats:
    """Bound a probability from below, exactly (Clopper & Pearson, Biometrika 1934), one-sided.

    Args:
        successes: How many draws are 1, any shape.
        draws: Of how many, broadcast against it.
        alpha: Probability that the bound is above the truth, at most.

    Returns:
        The bounds, in [0, 1).
    """
    check_alpha(alpha)
    successes, draws = np.asarray(successes, float), np.asarray(draws, float)
    bound = betaincinv(np.maximum(successes, 1), draws - np.maximum(successes, 1) + 1, alpha)
    return np.where(successes > 0, bound, 0.0)


def empirical_bernstein(values: ArrayLike, alpha: float) -> float:
    """Bound a mean from below by the variance of the draws (Maurer & Pontil, COLT 2009, theorem 4).

    Args:
        values: `[n]` independent draws in [0, 1], two or more.
        alpha: Probability that the bound is above the truth, at most.

    Returns:
        The bound; 0 where it says nothing.
    """
    values, log = check_scores(values).ravel(), math.log(2 / check_alpha(alpha))
    if len(values) < 2:
        raise InputError(f"{len(values)} draws; expected at least 2 for a bound by their variance.")
    spread = math.sqrt(2 * values.var(ddof=1) * log / len(values)) + 7 * log / (3 * (len(values) - 1))
    return max(float(values.mean()) - spread, 0.0)


def betting(values: ArrayLike, alpha: float) -> float:
    """Bound a mean from below by bets against every lower one (Waudby-Smith & Ramdas, JRSS B 2024).

    Whoever bets the share b of a capital on each value x at odds that are fair if the mean is m ends with
    `prod(1 - b + b x / m)`. In expectation that is at most 1 if no draw makes the mean larger than m, so it
    exceeds 1 / alpha with probability alpha at most (Markov). Here the capital is spread over `BETS`, whose
    mean outcome is a mixture as Krichevsky & Trofimov's, in no order of the draws; the bound is the least m
    that is not refuted so.

    The draws need not be alike: if their means differ, the expectation is
    `prod(1 - b + b mean_i / m) <= (1 - b + b mean / m)^n` (arithmetic and geometric mean), so the bound holds
    for the average of their means.

    Args:
        values: Independent draws, 0 or more, any shape; nothing need bound them from above.
        alpha: Probability that the bound is above the truth, at most.

    Returns:
        The bound, between 0 and the draws' mean.
    """
    return betting_of([np.asarray(values, float)], [0.0], alpha)


def betting_of(values: list[Floats], below: list[float], alpha: float) -> float:
    """Bound what several kinds of draws have in common: the capital is spread over the kinds, too.

    Args:
        values: For each kind the draws, each at least `-below`, whose means are the wanted one or less.
        below: For each kind, how far its draws may lie below 0.
        alpha: Probability that the bound is above the truth, at most.

    Returns:
        The bound, at least 0; see `betting`.
    """
    threshold = -math.log(check_alpha(alpha))
    kinds = [(*_counted(kind + lift), lift) for kind, lift in zip(values, below, strict=True)]
    low, high = 0.0, max(float(kind.mean()) for kind in values)
    if high <= 0 or _log_capital(kinds, high * 2.0**-_HALVINGS) < threshold:
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _log_capital(kinds, middle) >= threshold else (low, middle)
    return low


def dvoretzky_kiefer_wolfowitz(draws: int, alpha: float) -> float:
    """Return how far a distribution function lies above that of its draws (Massart, Ann. Probab. 1990).

    Args:
        draws: How many.
        alpha: Probability that it lies further above anywhere, at most 1/2.
    """
    return math.sqrt(-math.log(check_alpha(alpha)) / (2 * draws))


def check_scores(scores: ArrayLike) -> Floats:
    """Return scores as float64.

    Raises:
        InputError: If one is outside [0, 1] by more than rounding, or there is none.
    """
    scores = np.asarray(scores, float)
    if not scores.size:
        raise InputError("no draws; expected at least one for a certificate. Raise the number of draws.")
    low, high = scores.min(), scores.max()
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise InputError(
            f"scores span [{low:.4g}, {high:.4g}]; expected [0, 1]. Certify a score of that range."
        )
    return scores.clip(0, 1)


def _counted(values: Floats) -> tuple[Floats, Any]:
    """Return the different values, rounded down, and how often each occurs."""
    step = values.max() / _STEPS or 1.0
    steps, times = np.unique(np.floor(values.ravel() / step), return_counts=True)
    return steps * step, times


def _log_capital(kinds: list[tuple[Floats, Any, float]], mean: float) -> float:
    """Return the logarithm of what bets against `mean` have come to on average."""
    ends = np.concatenate(
        [np.log1p(np.outer(BETS, values / (mean + lift) - 1)) @ times for values, times, lift in kinds]
    )
    return float(np.log(np.exp(ends - ends.max()).mean()) + ends.max())
