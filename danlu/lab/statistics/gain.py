"""The compute-equivalent gain: how many times its compute the baseline needs to be as good as the variant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from danlu.lab.errors import LabError
from danlu.lab.statistics.elasticity import curve, equivalent, sensitivity, shares
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
class AtCost:
    """Both sides at one rung, each at its own best rate.

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
    variant that diverged. Nan or an infinite variance where nothing can be said, and ``why``: a side has no
    run left, runs are too few, or the baseline does not fall by more than they scatter in one of the two
    intervals nearest to the rung.
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
    why: str = ""

    def interval(self, level: float = LEVEL) -> Interval:
        """Of ln gain at this rung alone."""
        half = t_quantile(self.df, level) * math.sqrt(self.variance)
        return Interval(self.value, self.value - half, self.value + half)


def gains(rungs: Sequence[AtCost], seed: int = 0) -> list[Gain]:
    """The gain at each rung, by ascending cost: y = −d̄/e + ln(C_b/C_v), where −d̄/e follows the baseline's
    own curve (``elasticity.equivalent``). It needs no floor of the loss, only differences of the baseline's
    losses at neighbouring rungs. Exactly, for L = E + A·C^−α: ((L_b − E)/(L_v − E))^{1/α}·C_b/C_v.

    Its variance by the delta method, [s_d²/n + d̄²·Var(ln e) − 2 d̄·Cov(d̄, ln e)]/e², the last since the
    baseline's losses are in both; where |y| > .3 from draws of the means of all rungs (a parametric
    bootstrap: three seeds have no more than ten different resamples), seeded by ``seed``. Variances of runs
    are smoothed over rungs. Where the losses of a seed correlate by no more than .1 over all rungs the sides
    are taken as unpaired (Welch 1947), which has more degrees of freedom.

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
    rho = correlation(rungs)
    paired = rho > UNPAIRED
    kept = [_both(rung) if paired else (_ended(rung.baseline), _ended(rung.variant)) for rung in rungs]
    base, other = (_Side.of(x, [both[side] for both in kept]) for side in (0, 1))
    difference = other.mean - base.mean
    if paired:
        apart = _Side.of(x, [[v - b for b, v in zip(*both, strict=True)] for both in kept])
        error, df = apart.error, apart.df
        with_base = (other.error - base.error - error) / 2
    else:
        error, df = _welch(base, other)
        with_base = -base.error
    with np.errstate(invalid="ignore", divide="ignore"):
        at = curve(x, base.mean)
        y, above, below = equivalent(x, at, difference)
        by_loss = sensitivity(x, base.mean)
        of_log_e = by_loss**2 @ base.error
        most = np.sqrt(error * base.error)
        both = np.diagonal(by_loss) * np.clip(with_base, -most, most)
        uncertain = (error + difference**2 * of_log_e - 2 * difference * both) / at.e**2
        if (large := np.abs(y) > LARGE).any():
            uncertain = np.where(large, _drawn(x, base, other, rho if paired else 0.0, seed), uncertain)
    return [
        Gain(
            x=float(x[r]),
            value=float(y[r]) + math.log(rung.cost / (rung.variant_cost or rung.cost)),
            variance=float(uncertain[r]) if math.isfinite(uncertain[r]) else math.inf,
            df=float(df[r]),
            difference=float(difference[r]),
            elasticity=float(at.e[r]),
            pairs=min(map(len, kept[r])),
            paired=paired,
            lost=(_lost(rung.baseline), _lost(rung.variant)),
            bound=">=" if above[r] else "~" if below[r] else "",
            why="" if math.isfinite(uncertain[r]) else _why(r, x, base, other, error[r]),
        )
        for r, rung in enumerate(rungs)
    ]


def correlation(rungs: Sequence[AtCost]) -> float:
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


class _Side(NamedTuple):
    """The mean at each rung, the variance of that mean, and how well this variance is known."""

    mean: Array
    error: Array
    df: Array

    @classmethod
    def of(cls, x: Array, values: Sequence[Sequence[float]]) -> _Side:
        import numpy as np

        spread = smooth(x.tolist(), values)
        mean = [fmean(of_rung) if of_rung else math.nan for of_rung in values]
        error = [one.variance / max(len(v), 1) for one, v in zip(spread, values, strict=True)]
        return cls(np.array(mean), np.array(error), np.array([one.df for one in spread]))


def _welch(base: _Side, other: _Side) -> tuple[Array, Array]:
    """The variance of a difference of two means, and its degrees of freedom (Welch 1947)."""
    import numpy as np

    total = base.error + other.error
    with np.errstate(invalid="ignore", divide="ignore"):
        df = total**2 / (base.error**2 / base.df + other.error**2 / other.df)
    return total, np.where(np.isfinite(df), df, np.minimum(base.df, other.df))


def _drawn(x: Array, base: _Side, other: _Side, rho: float, seed: int) -> Array:
    """The variance of each gain over draws of the means, as of a normal distribution by the half width of
    its middle 68 %; infinite where more than 2.5 % of them have no gain."""
    import numpy as np

    random = np.random.default_rng(seed)
    one, two = random.standard_normal((2, DRAWS, len(x)))
    b = base.mean + np.sqrt(base.error) * one
    v = other.mean + np.sqrt(other.error) * (rho * one + math.sqrt(1 - rho**2) * two)
    y, *_ = equivalent(x, curve(x, b), v - b)
    ended, tail = np.isfinite(y), (1 - ONE_SIGMA) / 2
    low, high = np.quantile(np.where(ended, y, 0), [tail, 1 - tail], axis=0)
    return np.where(ended.mean(axis=0) >= MOST_DRAWS, ((high - low) / 2) ** 2, math.inf)


def _why(r: int, x: Array, base: _Side, other: _Side, error: float) -> str:
    """Why the gain or its variance is not known at a rung, of which the difference has this ``error``."""
    intervals = [i for i, share in enumerate(shares(x)[r]) if share]
    for name, side, used in (
        ("variant", other, {r}),
        ("baseline", base, {i + j for i in intervals for j in (0, 1)}),
    ):
        for k in sorted(used):
            if math.isnan(side.mean[k]):
                return f"no run of the {name} ended at rung {k + 1}"
    for i in intervals:
        if base.mean[i + 1] >= base.mean[i]:
            return f"the baseline does not fall from rung {i + 1} to rung {i + 2}"
    if math.isfinite(error):
        return "the baseline falls too little there for how much runs scatter"
    return "with one run of a side nobody knows how much runs scatter"


def _ended(losses: Sequence[float]) -> list[float]:
    return [loss for loss in losses if math.isfinite(loss)]


def _lost(losses: Sequence[float]) -> int:
    return len(losses) - len(_ended(losses))


def _both(rung: AtCost) -> tuple[list[float], list[float]]:
    """The losses of the seeds with which both sides ended."""
    rows = [row for row in zip(rung.baseline, rung.variant, strict=True) if all(map(math.isfinite, row))]
    return [b for b, _ in rows], [v for _, v in rows]
