"""The smoothed predictor: the answer that most noise draws give, and how far it holds.

Draws that choose an answer and draws that count who agrees with it must be different ones. A probability p
to agree stays above 1/2 within `sigma Phi^-1(p)` in the L2 norm (Cohen et al., ICML 2019, theorem 1), and
above 1/2 within r if p is above `Phi(r / sigma)` here. All in [0, 1] pixel units.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc, log_ndtr, ndtri

from dds.certificates.bounds import Floats, check_alpha, clopper_pearson

Bools = NDArray[np.bool_]


def radius(agreeing: ArrayLike, draws: ArrayLike, sigma: float, alpha: float) -> Floats:
    """Return within which radius a vote holds (Cohen et al. 2019, `Certify`).

    Also of any other question that an image answers by yes or no: whether a query's best match is right,
    whether an object is found.

    Args:
        agreeing: How many draws gave the answer, which others have chosen; any shape.
        draws: Of how many, fixed beforehand; `dds.certificates.sequential` has what needs no fixing.
        sigma: Of the noise.
        alpha: Probability that the radius is too large, at most.

    Returns:
        The radius; NaN to abstain.
    """
    bound = clopper_pearson(agreeing, draws, alpha)
    return np.where(bound >= 0.5, sigma * ndtri(bound), np.nan)


def holding(agreeing: ArrayLike, draws: int, probability: float, alpha: float) -> Bools:
    """Tell which of many answers hold, all of those told together (SegCertify, Fischer et al., ICML 2021).

    One-sided binomial tests against `probability`, corrected by Holm (Scand. J. Statist. 1979). For the
    pixels of a segmentation, within `sigma Phi^-1(probability)`; for the labels of an image.

    Args:
        agreeing: How many draws gave each answer, which others have chosen; any shape, e.g. `[H, W]`.
        draws: Of how many, fixed beforehand.
        probability: To be exceeded, in [1/2, 1); `Phi(r / sigma)` for a radius r.
        alpha: Probability that any of those told does not hold, at most.

    Returns:
        The shape of `agreeing`; false: abstain.
    """
    counts = np.arange(draws + 1)
    chance = np.where(counts > 0, bdtrc(np.maximum(counts - 1, 0), draws, probability), 1.0)
    return holm(chance[np.asarray(agreeing, int)], alpha)


def holm(chances: ArrayLike, alpha: float) -> Bools:
    """Tell which hypotheses to reject by their p-values, so that all are rightly so (Holm 1979).

    Args:
        chances: p-values, any shape.
        alpha: Probability that any is wrongly rejected, at most.
    """
    chances = np.asarray(chances, float)
    order = chances.ravel().argsort(kind="stable")
    left = np.arange(chances.size, 0, -1)
    rejected = np.zeros(chances.size, dtype=bool)
    rejected[order] = np.logical_and.accumulate(chances.ravel()[order] <= check_alpha(alpha) / left)
    return rejected.reshape(chances.shape)


def draws_needed(ratio: float, alpha: float, answers: int = 1) -> float:
    """Return the fewest draws, all of them agreeing, that certify at a radius; infinite far beyond sigma.

    Args:
        ratio: r / sigma.
        alpha: Probability of error.
        answers: Among how many answers alpha is shared, the pixels of an image for instance.
    """
    with np.errstate(divide="ignore", over="ignore"):
        return float(np.ceil(np.log(check_alpha(alpha) / answers) / log_ndtr(ratio)))


def largest_radius(draws: int, sigma: float, alpha: float) -> float:
    """Return the largest radius that so many draws can prove: all of them agreeing; below 0: none."""
    return sigma * float(ndtri(check_alpha(alpha) ** (1 / draws)))


def linf_radius(l2_radius: float, height: int, width: int) -> float:
    """Return the L-infinity radius that an L2 radius covers on RGB images: `r / sqrt(3 H W)`."""
    return l2_radius / math.sqrt(3 * height * width)
