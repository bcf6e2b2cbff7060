"""The compute-equivalent gain: how many times its compute the baseline needs to be as good as the variant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import TYPE_CHECKING, Any, Literal

from danlu.lab.errors import LabError
from danlu.lab.statistics.means import LEVEL, Interval, t_quantile
from danlu.lab.statistics.noise import smooth

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

UNPAIRED = 0.1  # correlation over seeds up to which pairs gain less precision than they cost in freedom
LARGE = 0.3  # |ln gain| from which the delta method gives way to draws
DRAWS = 4000
MOST_DRAWS = 0.975  # of them must have a gain for its variance to be told
ONE_SIGMA = 0.6827  # of a normal distribution, within a standard deviation

Bound = Literal["", ">=", "~"]


@dataclass(frozen=True)
class Rung:
    """Both sides at one size, each at its own best rate.

    ``cost`` of one run of the baseline, and of the variant where it differs: FLOPs, or seconds, the same for
    all rungs. ``baseline``, ``variant``: losses of their seeds, lower is better (give −metric where higher
    is), in the same order; nan where a run diverged.
    """

    cost: float
    baseline: tuple[float, ...]
    variant: tuple[float, ...]
    variant_cost: float | None = None


@dataclass(frozen=True)
class Gain:
    """The gain at a rung.

    ``x``: ln of the baseline's cost. ``value``: ln of the compute-equivalent gain, above 0 where the variant
    is better. ``variance`` of it, with ``df`` degrees of freedom. ``difference``: variant − baseline, in the
    loss. ``elasticity``: −∂loss/∂ln cost of the baseline there. ``bound``: ">=" where the baseline would need
    more than its largest rung had, so that the tangent bounds its gain from below; "~" where the variant is
    as good as a baseline below the smallest rung, where the curve is continued. ``pairs``: runs of each side
    (the fewer). ``paired``: whether differences were taken by seed. ``lost``: runs of the baseline and of the
    variant that diverged. Nan with an infinite variance where nothing can be said: a side has no run left, or
    the baseline does not fall between neighbouring rungs.
    """

    x: float
    value: float
    variance: float
    df: float
    difference: float
    elasticity: float
    pairs: int
    paired: bool
    lost: tuple[int, int] = (0, 0)
    bound: Bound = ""

    def interval(self, level: float = LEVEL) -> Interval:
        """Of ln gain at this rung alone."""
        half = t_quantile(self.df, level) * math.sqrt(self.variance)
        return Interval(self.value, self.value - half, self.value + half)


def gains(rungs: Sequence[Rung], seed: int = 0) -> list[Gain]:
    """The gain at each rung, by ascending cost: y = −d̄/e + ln(C_b/C_v), where −d̄/e follows the baseline's
    own curve (``_equivalent``). It needs no floor of the loss, only differences of the baseline's losses at
    neighbouring rungs. Exactly, for L = E + A·C^−α: ((L_b − E)/(L_v − E))^{1/α}·C_b/C_v.

    Its variance by the delta method, s_d²/(n e²) + (d̄/e)²·Var(ln e); where |y| > .3 from draws of the means
    of all rungs (a parametric bootstrap: three seeds have no more than ten different resamples), seeded by
    ``seed``. Variances of runs are smoothed over rungs. Where the losses of a seed correlate by no more than
    .1 over all rungs the sides are taken as unpaired (Welch 1947), which has more degrees of freedom.

    Raises ``LabError`` below two rungs, or where costs are not positive and different.
    """
    import numpy as np

    rungs = sorted(rungs, key=lambda rung: rung.cost)
    costs = [rung.cost for rung in rungs]
    if len(rungs) < 2:
        raise LabError(f"{len(rungs)} rung says nothing of what compute buys: bring two, better four")
    if not all(0 < c < math.inf for c in costs) or len({*costs}) < len(costs):
        raise LabError(f"costs of rungs must be positive and differ, and they are {costs}")
    x = np.log(costs)
    sides = [[_ended(rung.baseline), _ended(rung.variant)] for rung in rungs]
    rho = correlation(rungs)
    paired = rho > UNPAIRED
    kept = [_both(rung) if paired else side for rung, side in zip(rungs, sides, strict=True)]
    base = np.array([fmean(b) if b else math.nan for b, _ in kept])
    other = np.array([fmean(v) if v else math.nan for _, v in kept])
    n = [(len(b), len(v)) for b, v in kept]
    spread_b = smooth(x.tolist(), [b for b, _ in kept])
    spread_v = smooth(x.tolist(), [v for _, v in kept])
    if paired:
        spread_d = smooth(x.tolist(), [[v - b for b, v in zip(*pair, strict=True)] for pair in kept])
    error_b = np.array([s.variance / max(k, 1) for s, (k, _) in zip(spread_b, n, strict=True)])
    error_v = np.array([s.variance / max(k, 1) for s, (_, k) in zip(spread_v, n, strict=True)])
    y, e, by_loss, bounds = _equivalent(x, base, other)
    drawn = _drawn(x, base, other, error_b, error_v, rho if paired else 0.0, seed)
    found = []
    for r, rung in enumerate(rungs):
        d, value = float(other[r] - base[r]), float(y[r])
        if paired:
            of_d, df = spread_d[r].variance / max(n[r][0], 1), spread_d[r].df
        else:
            of_d, df = _welch(error_b[r], spread_b[r].df, error_v[r], spread_v[r].df)
        of_log_e = float((by_loss[r] ** 2 * error_b).sum())
        known = drawn[r] if abs(value) > LARGE else (of_d + d**2 * of_log_e) / float(e[r]) ** 2
        lost_b, lost_v = (
            len(a) - len(b) for a, b in zip((rung.baseline, rung.variant), sides[r], strict=True)
        )
        ratio = math.log(rung.cost / (rung.variant_cost or rung.cost))
        found.append(
            Gain(
                x=float(x[r]),
                value=value + ratio,
                variance=float(known) if math.isfinite(known) else math.inf,
                df=df,
                difference=d,
                elasticity=float(e[r]),
                pairs=min(n[r]),
                paired=paired,
                lost=(lost_b, lost_v),
                bound=bounds[r],
            )
        )
    return found


def correlation(rungs: Sequence[Rung]) -> float:
    """Of the two losses of a seed, over the seeds of all rungs: the mean of the rungs' own, weighted by their
    pairs − 1; 0 where nothing can be said."""
    top = bottom = 0.0
    for rung in rungs:
        if len(rung.baseline) != len(rung.variant):
            return 0.0
        b, v = _both(rung)
        if len(b) < 2 or not (spread := math.sqrt(variance(b) * variance(v))):
            continue
        mean_b, mean_v = fmean(b), fmean(v)
        products = sum((p - mean_b) * (q - mean_v) for p, q in zip(b, v, strict=True))
        top += products / spread
        bottom += len(b) - 1
    return top / bottom if bottom else 0.0


def _equivalent(x: Array, base: Array, other: Array) -> tuple[Array, Array, Array, list[Bound]]:
    """(ln gain without the costs' ratio, elasticity, ∂ln e/∂(baseline's losses), bounds) at each rung; of
    ``base`` and ``other`` with any leading dimensions (the third and fourth of the last two alone).

    The baseline's slope between two rungs is the elasticity between them. Of a power law with any floor its
    logarithm is a line in x, so the two slopes nearest to a rung give e there and how it falls, α = −∂ln
    e/∂x; then L_b(x + y) = L_v has y = −ln(1 + α d/e)/α. Beyond the largest rung's own half step the tangent
    stands in, y = −d/e: less than what a curve that flattens says. From two rungs there is one slope, and α =
    0."""
    import numpy as np

    step = np.diff(x)
    slope = -np.diff(base) / step
    with np.errstate(invalid="ignore", divide="ignore"):
        log_slope = np.log(np.where(slope > 0, slope, np.nan))
        k = len(x)
        if k == 2:
            e = np.exp(log_slope[..., [0, 0]])
            alpha = np.zeros_like(e)
            weights = np.ones((2, 1))
        else:
            middle = x[:-1] + step / 2
            first = np.clip(np.arange(k) - 1, 0, k - 3)
            apart = middle[first + 1] - middle[first]
            alpha = (log_slope[..., first] - log_slope[..., first + 1]) / apart
            share = (x - middle[first]) / apart
            # A slope over a step h exceeds the elasticity at its middle by sinh(αh/2)/(αh/2).
            u = alpha * step[first] / 2
            log_e = (1 - share) * log_slope[..., first] + share * log_slope[..., first + 1]
            e = np.exp(
                log_e - np.where(np.abs(u) > 1e-6, np.log(np.abs(np.sinh(u) / np.where(u == 0, 1, u))), 0)
            )
            weights = np.zeros((k, k - 1))
            weights[np.arange(k), first] = 1 - share
            weights[np.arange(k), first + 1] += share
        z = -(other - base) / e
        bent = -np.log1p(-alpha * z) / np.where(np.abs(alpha) < 1e-9, np.nan, alpha)
        y = np.where(np.abs(alpha) < 1e-9, z, bent)
        above = (alpha * z >= 1) | (x + y > x[-1] + step[-1] / 2)
        y = np.where(above, z, y)
        below = x + y < x[0] - step[0] / 2
    by_loss = np.zeros((k, k))
    if base.ndim == 1:
        by_slope = weights / np.where(slope > 0, slope, np.nan) / step
        by_loss[:, :-1] += by_slope
        by_loss[:, 1:] -= by_slope
    bounds: list[Bound] = []
    if y.ndim == 1:
        bounds = [">=" if a else "~" if b else "" for a, b in zip(above, below, strict=True)]
    return y, e, by_loss, bounds


def _drawn(
    x: Array, base: Array, other: Array, error_b: Array, error_v: Array, rho: float, seed: int
) -> Array:
    """The variance of each gain over draws of the means, as of a normal distribution by the half width of
    its middle 68 %; infinite where the baseline does not fall in more than 2.5 % of them."""
    import numpy as np

    random = np.random.default_rng(seed)
    one, two = random.standard_normal((2, DRAWS, len(x)))
    with np.errstate(invalid="ignore"):
        b = base + np.sqrt(error_b) * one
        v = other + np.sqrt(error_v) * (rho * one + math.sqrt(1 - rho**2) * two)
        y, *_ = _equivalent(x, b, v)
    tail = (1 - ONE_SIGMA) / 2
    ended = np.isfinite(y)
    low, high = np.quantile(np.where(ended, y, 0), [tail, 1 - tail], axis=0)
    return np.where(ended.mean(axis=0) >= MOST_DRAWS, ((high - low) / 2) ** 2, math.inf)


def _welch(b: float, df_b: float, v: float, df_v: float) -> tuple[float, float]:
    """The variance of a difference of two means, and its degrees of freedom (Welch 1947)."""
    total = b + v
    if not 0 < total < math.inf:
        return total, min(df_b, df_v)
    return total, total**2 / (b**2 / df_b + v**2 / df_v)


def _ended(losses: Sequence[float]) -> list[float]:
    return [loss for loss in losses if math.isfinite(loss)]


def _both(rung: Rung) -> tuple[list[float], list[float]]:
    """The losses of the seeds with which both sides ended."""
    rows = [row for row in zip(rung.baseline, rung.variant, strict=True) if all(map(math.isfinite, row))]
    return [b for b, _ in rows], [v for _, v in rows]
