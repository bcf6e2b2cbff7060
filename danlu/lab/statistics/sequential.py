"""What holds although one looks before the end: evidence for whoever looks whenever he likes, and levels for
looks that were planned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist, fmean

from danlu.lab.errors import LabError
from danlu.lab.statistics.means import LEVEL, Interval, around, check_level

# Standard deviation of the effect that `anytime` expects, in standard deviations of a difference. A wide one
# needs less evidence of few pairs and more of many. With 3 the interval is finite from the third pair on; at
# five it is ±5.4 standard errors (Student's: ±2.8), which no other choice betters by 2 %; at twenty pairs it
# is 12 % wider than by the best choice there.
PRIOR = 3.0


def anytime(differences: Sequence[float], level: float = LEVEL) -> Interval:
    """The interval of the mean difference that holds whenever one stops, also because of what one saw: the
    means that ``evidence`` does not reject. Finite from the third pair on."""
    return around(differences, lambda n: anytime_reach(n, level))


def evidence(differences: Sequence[float], prior: float = PRIOR) -> float:
    """The evidence against a mean of zero, E_n: of normal differences without an effect it ever reaches 1/α
    with probability at most α, however often one looks (Ville's inequality).

    The Bayes factor of an effect δ = μ/σ ~ N(0, ``prior``²) against none, with the right Haar prior on σ
    (Gönen et al. 2005, eq. 3): a function of the differences' ratios alone, whose law does not know σ, hence
    a martingale (Wang & Ramdas 2024, "Anytime-valid t-tests and confidence sequences through Ville's
    inequality"). With t Student's statistic, ν = n − 1 and g = 1 + n·prior²:
    E = g^(−1/2) · [(1 + t²/ν) / (1 + t²/(ν g))]^((ν+1)/2).
    """
    n = len(differences)
    g = 1 + n * prior**2
    squares = sum(x * x for x in differences)
    between = n * fmean(differences) ** 2 if n else 0.0
    within = max(squares - between, 0.0)
    if n < 2 or squares == 0:
        return 1.0
    if (rest := within + between / g) == 0:
        return math.inf
    power = n / 2 * math.log((within + between) / rest) - math.log(g) / 2
    return math.exp(power) if power < 700 else math.inf


def anytime_reach(n: int, level: float = LEVEL, prior: float = PRIOR) -> float:
    """Half the interval ``anytime`` of n values, in standard errors: the t at which E_n = 1/α."""
    check_level(level)
    g = 1 + n * prior**2
    k = (math.sqrt(g) / (1 - level)) ** (2 / n) if n else math.inf
    return math.sqrt((n - 1) * (k - 1) / (1 - k / g)) if n > 1 and k < g else math.inf


def spent(share: float, alpha: float = 1 - LEVEL) -> float:
    """How much of ``alpha`` may be spent until this ``share`` of the planned runs is there: α(t) =
    2 − 2Φ(z_{α/2}/√t), little at first (Lan & DeMets 1983, after O'Brien & Fleming)."""
    if not 0 < share <= 1:
        raise LabError(f"share = {share} is not a share of the planned runs: give one in (0, 1]")
    normal = NormalDist()
    return 2 - 2 * normal.cdf(normal.inv_cdf(1 - alpha / 2) / math.sqrt(share))


def look_levels(shares: Sequence[float], level: float = LEVEL) -> list[float]:
    """The level of the interval at each of the planned looks, at ascending ``shares`` of the planned runs. A
    look may err with what is spent since the one before, so that the errors of all add up to at most
    1 − ``level`` (Bonferroni's bound: for any statistic, and its last look hardly wider than ``level``)."""
    check_level(level)
    if list(shares) != sorted(set(shares)):
        raise LabError(f"looks at {list(shares)} do not ascend: give each share of the planned runs once")
    budget = [0.0, *(spent(share, 1 - level) for share in shares)]
    return [1 - (now - before) for before, now in pairwise(budget)]
