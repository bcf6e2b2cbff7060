"""How many pairs a question needs, and how severely an answer was tested."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, stdev

from danlu.lab.errors import LabError
from danlu.lab.statistics.means import LEVEL, Interval, t_reach
from danlu.lab.statistics.sequential import anytime_reach

POWER = 0.8
WEAK = 0.8  # severity below which a pass says little (Mayo & Spanos 2006)
MOST_SEEDS = 1000  # further pairs beyond which nothing is said to decide
MOST_PAIRS = 100_000  # beyond which no plan is made
MANY = 10**9  # degrees of freedom of a t that is normal


def seeds_to_decide(
    differences: Sequence[float], level: float = LEVEL, *, looking: bool = False
) -> int | None:
    """How many further pairs would bring zero out of the interval if mean and spread stayed what they are; 0
    where it is out already, None where two pairs are not there yet or a thousand more would not do.

    ``looking``: of the interval ``anytime``, by which one is judged who adds pairs after a look.
    """
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return None
    mean, spread = abs(fmean(differences)), stdev(differences)
    reach = anytime_reach if looking else t_reach
    for more in range(MOST_SEEDS + 1):
        n = len(differences) + more
        if mean > (reach(n, level) * spread / math.sqrt(n) if spread else 0.0):
            return more
    return None


def pairs_for_difference(effect: float, sd: float, power: float = POWER, level: float = LEVEL) -> int:
    """The fewest pairs whose interval of ``level`` leaves zero out with probability ``power`` where the mean
    difference is ``effect`` and its standard deviation ``sd`` (of one pair, in the same unit):
    n ≥ (t_{(1+level)/2} + t_power)² sd²/effect² with n − 1 degrees of freedom (e.g. Chow et al. 2008, 3.1).
    At least two. Raises ``LabError`` where the effect is none or no plan of 100,000 pairs would do."""
    return _fewest(abs(effect), sd, "effect", lambda df: _t(df, (1 + level) / 2) + _t(df, power))


def pairs_for_equivalence(margin: float, sd: float, power: float = POWER) -> int:
    """The fewest pairs by which ``equivalent`` is found with probability ``power`` where there is no
    difference at all: n ≥ (t_.95 + t_{(1+power)/2})² sd²/margin² (e.g. Chow et al. 2008, 3.1).
    ``margin`` and ``sd`` as above, and the same is raised."""
    return _fewest(margin, sd, "margin", lambda df: _t(df, 0.95) + _t(df, (1 + power) / 2))


def equivalent(narrow: Interval, margin: float) -> bool:
    """Whether a mean difference is shown to lie within ±``margin``: both one-sided tests reject at 5 %, which
    is to say that the ``narrow`` interval, of ``NARROW``, lies inside (Schuirmann 1987)."""
    return -margin < narrow.low and narrow.high < margin


def severity(differences: Sequence[float], bound: float, *, above: bool = False) -> float:
    """How severely the claim "the mean difference lies below ``bound``" (``above``: above it) was tested by
    these pairs: the probability of a mean further on the other side, were it exactly at the bound,
    F_{t, n−1}((bound − d̄)/se) (Mayo & Spanos 2006). nan below two finite pairs."""
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return math.nan
    mean, error = fmean(differences), stdev(differences) / math.sqrt(len(differences))
    gap = mean - bound if above else bound - mean
    if error == 0:
        return 0.5 if gap == 0 else float(gap > 0)
    from scipy.special import stdtr

    return float(stdtr(len(differences) - 1, gap / error))


def weak(tested: float) -> bool:
    """Whether a claim that passed was tested with too little severity to say much."""
    return not tested >= WEAK


def _fewest(size: float, sd: float, what: str, reach: Callable[[int], float]) -> int:
    """The smallest n ≥ 2 with √n · size ≥ reach(n − 1) · sd."""
    if not (size > 0 and sd >= 0 and math.isfinite(size) and math.isfinite(sd)):
        raise LabError(
            f"{what} = {size} with sd = {sd} plans no pairs: both must be finite, and {what} not 0"
        )
    n = max(2, math.ceil((reach(MANY) * sd / size) ** 2))  # from below: t quantiles fall to the normal ones
    while n <= MOST_PAIRS and math.sqrt(n) * size < reach(n - 1) * sd:
        n += 1
    if n > MOST_PAIRS:
        raise LabError(
            f"{what} = {size:.3g} is so small beside sd = {sd:.3g} that {MOST_PAIRS:,} pairs would not show "
            f"it: take a larger {what}, or a bed with less noise"
        )
    return n


def _t(df: int, probability: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))
