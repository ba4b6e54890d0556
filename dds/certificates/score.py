"""The certified expected score of a randomised defence, within an L2 radius.

A defence draws fresh noise of standard deviation sigma for each answer, and each answer has a score h in
[0, 1]. Where an attacker may move the image by r in the L2 norm, the probability p that the score reaches a
threshold falls to `shifted(p, r / sigma)` at the lowest (Cohen et al., ICML 2019, lemma 4). The expected
score is the integral of that probability over all thresholds, so at least

    T(h) = integral_0^1 shifted(P(h >= s), r / sigma) ds            (Kumar et al., NeurIPS 2020)
         >= shifted(E h, r / sigma)                                 (as `shifted` is convex in p)

Ratios below are r / sigma, both in [0, 1] pixel units.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from dds.certificates.bounds import Floats, betting_of, check_alpha, check_scores, clopper_pearson
from dds.errors import InputError

RANKS = 12
"""Places in the sorted scores at which a distribution is bounded."""

THRESHOLDS = 100
"""Steps of the score that a data set is certified by."""

STEEPEST = (0.5, 1.0, 2.0, 3.0)
"""Quantiles beyond which no tangent is laid; the capital is spread over them."""


def shifted(probability: ArrayLike, ratio: ArrayLike) -> Floats:
    """Return the least that a probability under Gaussian noise may fall to: `Phi(Phi^-1(p) - r / sigma)`.

    Args:
        probability: In [0, 1].
        ratio: r / sigma, 0 or more; broadcast against it.
    """
    return np.asarray(ndtr(ndtri(np.asarray(probability, float)) - np.asarray(ratio, float)))


def mean_form(mean: ArrayLike, ratio: ArrayLike) -> Floats:
    """Bound an expected score from below by its mean without an attacker, or a bound of that."""
    return shifted(mean, ratio)


def distribution_form(scores: ArrayLike, probabilities: ArrayLike, ratio: float) -> float:
    """Bound an expected score from below by its distribution without an attacker (Kumar et al. 2020, eq. 4).

    Args:
        scores: `[K]` thresholds in [0, 1], rising.
        probabilities: `[K]` that the score reaches each, or lower bounds that hold for all of them.
        ratio: r / sigma.
    """
    rises = np.diff(check_scores(scores), prepend=0.0)
    return float(rises @ shifted(probabilities, ratio))


def certify_image(scores: ArrayLike, ratios: ArrayLike, alpha: float, zero_or_one: bool = False) -> Floats:
    """Certify the expected score of one image at several radii.

    With probability 1 - alpha all of the bounds hold, for they follow from one: for scores that are 0 or 1 of
    the mean (Clopper-Pearson), for others of the distribution at `RANKS` places of the sorted scores, fixed
    by the number of draws alone. There the probability to reach the j-th lowest of n scores is at least
    Beta(n - j + 1, j)-distributed, hence bounded by Clopper-Pearson as if n - j + 1 of n had been reached;
    each place has an equal part of alpha. That proves more than the mean form, or than one band around the
    whole distribution (Dvoretzky-Kiefer-Wolfowitz), at 30 draws already unless scores are nearly 0 or 1; and
    the choice between the two looks at no draw.

    Args:
        scores: `[n]` scores of independent draws, in [0, 1].
        ratios: `[R]` of r / sigma.
        alpha: Probability that a bound is above the truth, at most.
        zero_or_one: Whether the score can be nothing else.

    Returns:
        `[R]` lower bounds of the expected score.

    Raises:
        InputError: If a score is not what was said.
    """
    scores, ratios = np.sort(check_scores(scores)), check_ratios(ratios)
    if zero_or_one:
        if not np.isin(scores, (0, 1)).all():
            raise InputError("a score of 0 or 1 was said to be certified, but others have come.")
        return mean_form(clopper_pearson(scores.sum(), len(scores), alpha), ratios)
    ranks = np.unique(np.geomspace(1, max(0.7 * len(scores), 1), RANKS).round()).astype(int)
    reached = clopper_pearson(len(scores) - ranks + 1, len(scores), alpha / len(ranks))
    return np.array([distribution_form(scores[ranks - 1], reached, ratio) for ratio in ratios])


def certify_data_set(
    scores: ArrayLike, ratios: ArrayLike, alpha: float, thresholds: int = THRESHOLDS
) -> Floats:
    """Certify the mean over images of the expected score, each image moved by r as an attacker likes.

    With probability 1 - alpha all of the bounds hold, each radius having an equal part of alpha. There is no
    union over images: what is bounded is one number, the mean over images of `T` above.

    Since `shifted` is convex in p, it lies above each of its tangents, at any a. So

        V = integral_0^1 shifted(a(s)) + shifted'(a(s)) (1[h >= s] - a(s)) ds

    has a mean of at most T(h), whatever a(s) is before h is drawn. Here a(s) is what the draws before have
    shown of the same image, `(times reached + 1/2) / (draws before + 1)`, so that V is nearly as large as
    T(h); no draw is spent on the choice alone but those of the first tenth, whose tangents are too poor to
    be bet on. Within a round, one draw of each image, the V are independent given the rounds before, and by
    the argument in `betting` the capital is a supermartingale over rounds if the mean is no larger than the
    one that is bet against. That is so, too, if from each V the value at its tangent point is taken and the
    round's mean of these is added, which is all known before the round and frees the bets from the
    differences between images. V is bounded from below by the steepest tangent, which `STEEPEST` limits.
    Both kinds and all limits share the capital. The integral is a sum over thresholds from below.

    Args:
        scores: `[n, N]` scores in [0, 1] of n independent draws, in their order, of each of N images.
        ratios: `[R]` of r / sigma.
        alpha: Probability that a bound is above the truth, at most.
        thresholds: Steps of the integral; 1 is exact for scores of 0 or 1.

    Returns:
        `[R]` lower bounds of the mean expected score on these images.
    """
    scores, ratios = check_scores(scores), check_ratios(ratios)
    part = check_alpha(alpha) / len(ratios)
    bounds = [_certify_at(scores, ratio, part, np.arange(1, thresholds + 1) / thresholds) for ratio in ratios]
    return np.array(bounds)


def check_ratios(ratios: ArrayLike) -> Floats:
    """Return radii in sigma as float64, `[R]`.

    Raises:
        InputError: If one is negative or not finite.
    """
    ratios = np.atleast_1d(np.asarray(ratios, float))
    if not (np.isfinite(ratios).all() and (ratios >= 0).all()):
        raise InputError(f"radii of {ratios.tolist()} sigma; expected finite numbers of at least 0.")
    return ratios


def _certify_at(scores: Floats, ratio: float, alpha: float, thresholds: Floats) -> float:
    opening, reached = len(scores) // 10, np.zeros((scores.shape[1], len(thresholds)), dtype=int)
    plain: list[list[Floats]] = [[] for _ in STEEPEST]
    centred: list[list[Floats]] = [[] for _ in STEEPEST]
    for number, drawn in enumerate(scores):
        reaches = drawn[:, None] >= thresholds  # (N, S)
        for kind, steepest in enumerate(STEEPEST) if number >= opening else ():
            offset, slope, at = _tangents(number, steepest, ratio)
            value, expected = (offset[reached] + slope[reached] * reaches).mean(1), at[reached].mean(1)
            plain[kind].append(value)
            centred[kind].append(value - expected + expected.mean())
        reached += reaches
    ends = [_tangent(np.array(steepest), ratio) for steepest in STEEPEST]
    below = [-float(offset) for offset, _, _ in ends] + [float(at - offset) for offset, _, at in ends]
    return betting_of([np.array(kept) for kept in [*plain, *centred]], below, alpha)


def _tangents(before: int, steepest: float, ratio: float) -> tuple[Floats, Floats, Floats]:
    """Return the tangent for each number of draws, of those `before`, that reached; `[before + 1]` each."""
    shown = (np.arange(before + 1) + 0.5) / (before + 1)
    return _tangent(np.minimum(ndtri(shown), steepest), ratio)


def _tangent(quantile: Floats, ratio: float) -> tuple[Floats, Floats, Floats]:
    """Return offset and slope of the tangent to `shifted` at `Phi(quantile)`, and the value there."""
    slope, value = np.exp(ratio * quantile - ratio**2 / 2), ndtr(quantile - ratio)
    return value - slope * ndtr(quantile), slope, value
