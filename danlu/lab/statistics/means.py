"""Intervals and tests of a handful of values whose number was fixed beforehand.

Student's t is the default: at 3, 5 and 10 normal differences its 95 % interval covers 95 %, where the
percentile bootstrap covers 74, 84 and 91 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, median, stdev
from typing import Literal, NamedTuple

from danlu.lab.errors import LabError

LEVEL = 0.95
NARROW = 0.9  # level of two one-sided tests at 5 %, and of an interval whose ends are bounds of 95 %
NORMAL = 1.959964  # half of a normal distribution's 95 % interval, in standard errors
BOOTSTRAP_FROM = 10  # values; below, resamples repeat too few of them to show how they scatter
RESAMPLES = 10_000

Verdict = Literal["better", "worse", "not shown"]


class Interval(NamedTuple):
    """A value, mostly a mean, and the ends of its interval."""

    value: float
    low: float
    high: float


UNKNOWN = Interval(math.nan, -math.inf, math.inf)


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's t interval of the mean. One value has an infinite one, as has a value that is not finite.
    Raises ``LabError`` where there is no value or ``level`` is no share."""
    return around(values, lambda n: t_reach(n, level))


def paired(differences: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's t interval of the mean difference of pairs; valid for a number of pairs fixed beforehand."""
    return mean_interval(differences, level)


def unpaired(baseline: Sequence[float], variant: Sequence[float], level: float = LEVEL) -> Interval:
    """Welch's t interval of the difference of two means, variant − baseline, of runs that have nothing in
    common (Welch 1947). Infinite where a side has fewer than two runs, or one that is not finite."""
    value, error, df = _contrast(baseline, variant)
    if not math.isfinite(error):
        return Interval(value, -math.inf, math.inf)
    half = t_quantile(df, level) * error if error else 0.0
    return Interval(value, value - half, value + half)


def unpaired_p(baseline: Sequence[float], variant: Sequence[float]) -> float:
    """Welch's two-sided test of two equal means; 1 where they say nothing."""
    value, error, df = _contrast(baseline, variant)
    if not math.isfinite(error):
        return 1.0
    if error == 0:
        return float(value == 0)
    from scipy.special import stdtr

    return float(2 * stdtr(df, -abs(value) / error))


def _contrast(baseline: Sequence[float], variant: Sequence[float]) -> tuple[float, float, float]:
    """The difference of two means, its standard error (infinite where it is not known), and its degrees of
    freedom."""
    sides = (baseline, variant)
    known = all(sides) and all(math.isfinite(x) for side in sides for x in side)
    value = fmean(variant) - fmean(baseline) if known else math.nan
    if not known or min(map(len, sides)) < 2:
        return value, math.inf, 0.0
    parts = [(stdev(side) ** 2 / len(side), len(side) - 1) for side in sides]
    total = sum(part for part, _ in parts)
    if total == 0:
        return value, 0.0, min(df for _, df in parts)
    return value, math.sqrt(total), total**2 / sum(part**2 / df for part, df in parts)


def bootstrap(differences: Sequence[float], level: float = LEVEL, seed: int = 0) -> Interval:
    """The bias-corrected and accelerated bootstrap interval of the mean (Efron 1987). Raises ``LabError``
    below ten differences."""
    if len(differences) < BOOTSTRAP_FROM:
        raise LabError(
            f"{len(differences)} differences are too few for a bootstrap: at 3, 5 and 10 of them its 95 % "
            f"interval covers 74, 84 and 91 %; bring {BOOTSTRAP_FROM}, or take the t interval"
        )
    check_level(level)
    mean = fmean(differences)
    if min(differences) == max(differences):
        return Interval(mean, mean, mean)
    import numpy as np
    from scipy import stats

    found = stats.bootstrap(
        (np.asarray(differences, float),),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))


def p_value(differences: Sequence[float]) -> float:
    """Student's two-sided test of a mean of zero; 1 where fewer than two pairs say nothing."""
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return 1.0
    mean, spread = fmean(differences), stdev(differences)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    from scipy.special import stdtr

    t = mean / (spread / math.sqrt(len(differences)))
    return float(2 * stdtr(len(differences) - 1, -abs(t)))


def median_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The median and its interval by ranks, which holds for any distribution: of 20 values from the 6th to
    the 15th, 95.9 %. Infinite where there are too few. Raises ``LabError`` where there is no value."""
    if not values:
        raise LabError("an interval needs at least one value, and there is none")
    check_level(level)
    ranked, n = sorted(values), len(values)
    below, outside = -1, 0.0  # P(fewer than k of n values lie below the median) = Σ_{i<k} C(n, i)/2ⁿ
    while (outside := outside + math.comb(n, below + 1) / 2**n) <= (1 - level) / 2:
        below += 1
    ends = (ranked[below], ranked[n - 1 - below]) if below >= 0 else (-math.inf, math.inf)
    return Interval(median(ranked), *ends)


def decide(interval: Interval, sign: int = 1) -> Verdict:
    """What an interval of variant − baseline shows where lower is better; ``sign`` = −1: where higher is."""
    low, high = sorted((sign * interval.low, sign * interval.high))
    if high < 0:
        return "better"
    return "worse" if low > 0 else "not shown"


def t_reach(n: int, level: float = LEVEL) -> float:
    """Half the t interval of n values, in standard errors."""
    return t_quantile(n - 1, level)


def t_quantile(df: float, level: float = LEVEL) -> float:
    """Half Student's interval of ``level`` with ``df`` degrees of freedom, in standard errors; infinite
    where there are none."""
    check_level(level)
    if df <= 0:
        return math.inf
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + level) / 2))


def around(values: Sequence[float], reach: Callable[[int], float]) -> Interval:
    """The mean ± ``reach`` of their number standard errors."""
    if not values:
        raise LabError("an interval needs at least one value, and there is none")
    n = len(values)
    if not all(map(math.isfinite, values)):
        return UNKNOWN
    mean, far = fmean(values), reach(n)
    if math.isinf(far):
        return Interval(mean, -math.inf, math.inf)
    half = far * stdev(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def check_level(level: float) -> None:
    """Raises ``LabError`` where ``level`` is no share."""
    if not 0 < level < 1:
        raise LabError(f"level = {level} is not a share between 0 and 1, such as {LEVEL}")
