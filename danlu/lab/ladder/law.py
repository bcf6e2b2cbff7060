"""The law of a ladder's runs: what the design identifies, how it predicts a rung that it never saw.

Intervals are Student's: the law made linear at its fit (the delta method), the scatter from the residuals of
ln loss, so that they are exact for a power law and hold for a handful of runs, where resamples do not. They
speak of the law's parameters and of noise between runs. That the law itself goes on so far, they don't.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from danlu.lab.errors import LabError
from danlu.lab.ladder.plan import Rung
from danlu.lab.statistics import LEVEL, Interval

if TYPE_CHECKING:
    from danlu.laws import Fit, Points

FLOOR_FROM = 5  # levels from which on a floor is fitted: below, it cannot be told from the exponent


@dataclass(frozen=True)
class Run:
    """A finished run of a rung. ``loss``: held out, of which the law is; ``metric``: the objective's first;
    ``per_loss``: that metric of the weights themselves over their loss; ``flops``, ``tokens``,
    ``parameters``: as the run counted them."""

    rung: Rung
    seed: int
    parameters: float
    tokens: float
    flops: float
    loss: float
    metric: float
    per_loss: float
    folder: str


@dataclass(frozen=True)
class LadderLaw:
    """A fit by least squares of ln loss, and what it says of other runs."""

    fit: Fit
    notes: tuple[str, ...]

    @property
    def freedom(self) -> int:
        """Runs beyond the law's free parameters."""
        return self.fit.points.size - int(self.fit.free.sum())

    @cached_property
    def scatter(self) -> float:
        """The standard deviation of ln loss about the law; NaN where every run is needed to fit it."""
        squares = float((self.fit.residuals**2).sum())
        return math.sqrt(squares / self.freedom) if self.freedom > 0 else math.nan

    def at(
        self, parameters: float, tokens: float, flops: float, *, runs: float = math.inf, level: float = LEVEL
    ) -> Interval:
        """The loss of a model of that size, and the interval of the mean of so many ``runs`` of it; endless
        ones: of the law alone."""
        import numpy as np
        from scipy.special import stdtrit

        from danlu.laws import Points
        from danlu.laws.doubt import residual_rows

        place = {"n": parameters, "d": tokens, "x": flops}
        columns = {name: [place[name]] for name in self.fit.law.columns}
        there = Points(columns, loss=[1.0])
        value = float(self.fit.predict(there)[0])
        if self.freedom < 1:
            return Interval(value, 0.0, math.inf)
        row = residual_rows(replace(self.fit, points=there))[:, 0]
        leverage = float(np.sum((row @ np.linalg.pinv(residual_rows(self.fit).T)) ** 2))
        far = stdtrit(self.freedom, (1 + level) / 2) * self.scatter * math.sqrt(leverage + 1 / runs)
        with np.errstate(over="ignore"):
            return Interval(value, float(value * np.exp(-far)), float(value * np.exp(far)))

    def json(self) -> dict[str, Any]:
        """Plain values; what is not known is None."""
        law = self.fit.law
        return {
            "law": law.name, "formula": law.formula, "paper": law.paper, "parameters": self.fit.theta,
            "runs": self.fit.points.size, "scatter": None if math.isnan(self.scatter) else self.scatter,
        }  # fmt: skip


def fitted(runs: Sequence[Run], design: str) -> LadderLaw:
    """The law that the runs identify.

    At one number of tokens for each parameter, size, data and compute grow together, so that no fit could
    tell their shares apart: a power law of compute, with a floor from five levels on. With IsoFLOP profiles
    Chinchilla's law of size and data. Raises LabError or LawError where the runs are too few.
    """
    from danlu.laws import SQUARES, fit, law, unidentified

    levels = len({run.rung.level for run in runs})
    if levels < 2:
        raise LabError(f"a law needs runs of two levels of compute at least, and {levels} ended well")
    points = points_of(runs)
    if design == "isoflop":
        found = fit(law("chinchilla"), points, loss=SQUARES)
        return LadderLaw(found, (*found.warnings, *map(str, unidentified(found))))
    points = points.with_columns(x=points["c"])
    together = "size, data and compute grew together: the law is one of compute along this ladder alone"
    if levels >= FLOOR_FROM:
        found = fit(law("power-floor"), points, loss=SQUARES)
        if found.theta["c"] > 0 and found.theta["b"] > 0:
            return LadderLaw(found, (together, *found.warnings))
        floor = "no floor is seen yet; the loss will not fall like that for ever"
    else:
        floor = f"{levels} levels cannot tell a floor from the exponent: far out the loss will be higher"
    return LadderLaw(fit(law("power"), points, loss=SQUARES), (together, floor))


def points_of(runs: Sequence[Run]) -> Points:
    """The runs as points of ``danlu.laws``: n, d, c and loss."""
    from danlu.laws import Points

    return Points(
        n=[run.parameters for run in runs],
        d=[run.tokens for run in runs],
        c=[run.flops for run in runs],
        loss=[run.loss for run in runs],
    )


@dataclass(frozen=True)
class HeldOut:
    """A rung that the law never saw: what it predicted for the mean of its runs, and what they measured."""

    rung: Rung
    predicted: Interval
    measured: float
    runs: int

    @property
    def error(self) -> float:
        """predicted/measured − 1."""
        return self.predicted.value / self.measured - 1

    @property
    def inside(self) -> bool | None:
        """Whether the interval holds what was measured; None where there is no interval."""
        if not math.isfinite(self.predicted.high):
            return None
        return self.predicted.low <= self.measured <= self.predicted.high

    def sentence(self, unit: str) -> str:
        """How well it was predicted; ``unit``: of the loss."""
        value, low, high = self.predicted
        between = "no interval" if self.inside is None else f"{low:.4f} … {high:.4f}"
        told = {None: "", True: ", inside the interval", False: ", outside the interval"}[self.inside]
        return (
            f"predicted {value:.4f} ({between}), measured {self.measured:.4f} {unit}: {self.error:+.2%}{told}"
        )

    def json(self, unit: str) -> dict[str, Any]:
        """Plain values, and the sentence."""
        return {
            "parameters": self.rung.sized.parameters, "tokens": self.rung.tokens, "flops": self.rung.flops,
            "predicted": ends(self.predicted), "measured": self.measured, "runs": self.runs,
            "error": self.error, "inside": self.inside, "sentence": self.sentence(unit),
        }  # fmt: skip


def held_out(runs: Sequence[Run], design: str, levels: int) -> list[HeldOut]:
    """The rungs of the largest ``levels`` levels, as a law of the others predicts them. Raises what
    ``fitted`` raises."""
    if not levels:
        return []
    last = max(run.rung.level for run in runs)
    rest = [run for run in runs if run.rung.level <= last - levels]
    law = fitted(rest, design)
    groups: dict[Rung, list[Run]] = {}
    for run in runs:
        if run.rung.level > last - levels:
            groups.setdefault(run.rung, []).append(run)
    found = []
    for rung, group in groups.items():
        one = group[0]
        predicted = law.at(one.parameters, one.tokens, one.flops, runs=len(group))
        measured = math.exp(sum(math.log(run.loss) for run in group) / len(group))
        found.append(HeldOut(rung, predicted, measured, len(group)))
    return found


def ends(interval: Interval) -> dict[str, float | None]:
    """An interval as JSON has it: both ends None where there is none."""
    known = math.isfinite(interval.high) and math.isfinite(interval.low)
    low, high = (interval.low, interval.high) if known else (None, None)
    return {"value": interval.value, "low": low, "high": high}
