"""Gains over rungs → what to expect at a size beyond, and the verdict there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Literal

from danlu.lab.errors import LabError
from danlu.lab.statistics.gain import Gain
from danlu.lab.statistics.means import LEVEL, NARROW, UNKNOWN, Interval, t_quantile
from danlu.lab.statistics.random_effects import solve

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

DELTA = math.log(1.02)  # the smallest gain worth having, and the largest that is none
LINE_FROM = 4  # rungs; three know a slope 4 to 6 times less well than five
BEYOND = 2  # rungs above the largest: as far as a verdict reaches, and where a study over sizes gives it

Said = Literal["better", "worse", "equivalent", "scale-bound", "not shown"]
CONSTANT = "the gain is taken to be the same at every size: a slope needs four rungs"


@dataclass(frozen=True)
class Model:
    """y_r = β₀ + β₁(x_r − x̄) + u_r + ε_r with u ~ N(0, τ²), ε_r ~ N(0, v_r): exact for two power laws with
    one floor, where β₁ = (α_v − α_b)/α_b. τ² is Paule and Mandel's (``random_effects.solve``).

    Below four rungs β₁ = 0, which is an assumption (``assumes``). Hartung and Knapp's factor on the variance
    of β, q = max(1, Σ w·resid²/(k − p)), is 1 by this choice of τ². Predictions two rungs beyond four to six
    cover no less than they say where the noise of the rungs differs by up to a factor of two; by four, 92 %.

    ``beta``: one or two coefficients; ``covariance``: theirs, by rows; ``df``: k − p.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    v: tuple[float, ...]
    beta: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    tau2: float

    @property
    def line(self) -> bool:
        return len(self.beta) == 2

    @property
    def df(self) -> int:
        return len(self.x) - len(self.beta)

    @property
    def assumes(self) -> str:
        return "" if self.line else CONSTANT

    def predict(self, at: float, level: float = LEVEL) -> Interval:
        """The gain of a new rung at x = ``at``: ŷ ± t_{k−p} √(τ² + cᵀ(XᵀWX)⁻¹c). Infinite with one rung."""
        value, error = self._at(at)
        half = t_quantile(self.df, level) * error
        return Interval(value, value - half, value + half)

    def p(self, at: float) -> float:
        """Two-sided, of no gain at x = ``at``; 1 with one rung."""
        value, error = self._at(at)
        if not self.df or not math.isfinite(error):
            return 1.0
        from scipy.special import stdtr

        return float(2 * stdtr(self.df, -abs(value) / error)) if error else float(value == 0)

    def slope(self, level: float = NARROW) -> Interval | None:
        """How ln gain changes with ln compute; none below four rungs."""
        if not self.line:
            return None
        half = t_quantile(self.df, level) * math.sqrt(self.covariance[1][1])
        return Interval(self.beta[1], self.beta[1] - half, self.beta[1] + half)

    def _at(self, at: float) -> tuple[float, float]:
        c = (1.0, at - fmean(self.x))[: len(self.beta)]
        value = sum(a * b for a, b in zip(c, self.beta, strict=True))
        spread = sum(
            a * row[j] * c[j] for a, row in zip(c, self.covariance, strict=True) for j in range(len(c))
        )
        return value, math.sqrt(self.tau2 + spread)


def fit(x: Sequence[float], y: Sequence[float], v: Sequence[float]) -> Model:
    """The model of gains ``y`` with variances ``v`` at ``x`` = ln compute. Raises ``LabError`` without
    any."""
    if len(x) == 0:
        raise LabError(
            "no rung has a gain: the baseline must fall from rung to rung, and both sides must end"
        )
    import numpy as np

    found = solve(design(x), np.asarray(y, float), np.asarray(v, float))
    rows = tuple(tuple(row) for row in found.covariance.tolist())
    return Model((*x,), (*y,), (*v,), (*found.beta.tolist(),), rows, float(found.tau2))


def design(x: Sequence[float]) -> Array:
    """(k, 2) of a line about the mean, (k, 1) of a constant below four rungs."""
    import numpy as np

    z = np.asarray(x, float) - np.mean(x)
    return np.column_stack([z**0, z][: 2 if len(x) >= LINE_FROM else 1])


@dataclass(frozen=True)
class Judged:
    """The verdict at compute ``at`` (ln), the interval of ln gain there that it comes from, the narrower
    one, the slope's, and in a few words why."""

    verdict: Said
    at: float
    gain: Interval
    narrow: Interval
    slope: Interval | None
    model: Model | None
    why: str


def known(gains: Sequence[Gain]) -> list[Gain]:
    """Those whose gain and variance are finite."""
    return [gain for gain in gains if math.isfinite(gain.value) and math.isfinite(gain.variance)]


def judge(gains: Sequence[Gain], at: float, delta: float = DELTA) -> Judged:
    """The verdict on an idea at x = ``at`` = ln compute, from its gain at each rung (ascending).

    *better*: the 95 % interval of the prediction lies above 0, and its value is ``delta`` at least; *worse*:
    mirrored. *scale-bound*: better at the first rung by the same rule (or worse), the slope's 90 % interval
    says that it fades, and it is not shown at ``at``. *equivalent*: the 90 % interval lies within ±``delta``
    (two one-sided tests). Else *not shown*. A fading effect that the line turns round beyond the rungs is no
    effect of the other sign: that needs the largest rung to show it. A side of which a run diverged, where
    the other's did not, cannot have won; one that diverged with all seeds, at least two, at the largest rung,
    has lost.

    Raises ``LabError`` where no rung has a gain, or ``at`` is more than two rungs beyond the largest of which
    it is known.
    """
    fine = known(gains)
    top = gains[-1] if gains else None
    if top is not None and not top.pairs and max(top.lost) >= 2 and min(top.lost) == 0:
        return _diverged(at, "worse" if top.lost[1] else "better")
    if gains and not fine:
        raise LabError(f"no rung has a gain: {'; '.join(dict.fromkeys(gain.why for gain in gains))}")
    model = fit([g.x for g in fine], [g.value for g in fine], [g.variance for g in fine])
    _reachable(model.x, at, gains[-1])
    gain, narrow, slope = model.predict(at), model.predict(at, NARROW), model.slope()
    verdict, why = _verdict(fine[0].interval(), fine[-1].interval(), gain, narrow, slope, delta)
    lost, lost_variant = (sum(g.lost[side] for g in gains) for side in (0, 1))
    if (verdict == "better" and lost_variant > lost) or (verdict == "worse" and lost > lost_variant):
        verdict, why = "not shown", "runs of the side that would have won diverged"
    return Judged(verdict, at, gain, narrow, slope, model, why)


def _diverged(at: float, verdict: Said) -> Judged:
    """The verdict where a side ended no run of the largest rung."""
    side = "variant" if verdict == "worse" else "baseline"
    why = f"every run of the {side} diverged at the largest rung"
    return Judged(verdict, at, UNKNOWN, UNKNOWN, None, None, why)


def better(gain: Interval, delta: float = DELTA) -> bool:
    """Whether an interval of ln gain says *better*."""
    return gain.low > 0 and gain.value >= delta


def _verdict(
    first: Interval, last: Interval, gain: Interval, narrow: Interval, slope: Interval | None, delta: float
) -> tuple[Said, str]:
    if better(gain, delta) and not (first.high < 0 and last.low <= 0):
        return "better", "the interval lies above no gain"
    if better(_mirrored(gain), delta) and not (first.low > 0 and last.high >= 0):
        return "worse", "the interval lies below no gain"
    if slope is not None and better(first, delta) and slope.high < 0 and not gain.low > 0:
        return "scale-bound", "better at the smallest rung, less with each, and not shown here"
    if slope is not None and better(_mirrored(first), delta) and slope.low > 0 and not gain.high < 0:
        return "scale-bound", "worse at the smallest rung, less with each, and not shown here"
    if -delta < narrow.low and narrow.high < delta:
        return "equivalent", f"the gain lies within a factor of {math.exp(delta):.3g}"
    if gain.low > 0 or gain.high < 0:
        return (
            "not shown",
            f"there is an effect, and it may be smaller than a factor of {math.exp(delta):.3g}",
        )
    return "not shown", "the interval holds no gain"


def _mirrored(interval: Interval) -> Interval:
    return Interval(-interval.value, -interval.high, -interval.low)


def _reachable(x: Sequence[float], at: float, top: Gain) -> None:
    """Raises ``LabError`` where ``at`` is too far beyond the known gains at ``x``; ``top``: the largest."""
    steps = [b - a for a, b in pairwise(x)]
    farthest = x[-1] + BEYOND * (median(steps) if steps else 0.0)
    if at > farthest + 1e-6:
        if top.x > x[-1]:
            raise LabError(
                f"the gain is not known at the largest rung: {top.why}; a verdict lies at most two rungs "
                "beyond the last of which it is known"
            )
        raise LabError(
            f"a verdict at {math.exp(at - x[-1]):.3g} times the compute of the largest rung is too far: two "
            f"rungs beyond are {math.exp(farthest - x[-1]):.3g} times, so add rungs or ask for less"
        )
