"""What each approach ends in: how the best size and the best data grow with compute."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from danlu.laws.base import Array
from danlu.laws.doubt import Interval, interval
from danlu.laws.errors import LawError, Warned
from danlu.laws.table import Points


@dataclass(frozen=True)
class Frontier:
    """How the best size and the tokens grow with compute.

    ``a``, ``b``: the exponents of N_opt and of D_opt. ``optima``: columns c, n, d and loss of the optima that
    the lines were laid through (none for the parametric approach); of profiles also n_low and n_high, the
    interval of each by noise alone. ``lines``: (draws, 4), the intercept and slope of ln n over ln c, then of
    ln d; the first is the estimate, the others are resamples.
    ``refused``: budgets without an optimum that can be used, a sentence each. ``warnings``: of the others.
    ``notes``: what was decided from the points: the noise and where it comes from, the runs.
    """

    approach: str
    a: Interval
    b: Interval
    optima: Points
    lines: Array
    refused: list[str]
    warnings: list[Warned]
    notes: list[str] = field(default_factory=list)

    def optimum(self, flops: float, level: float = 0.95) -> tuple[Interval, Interval]:
        """N_opt and D_opt of a budget in FLOP."""
        log_c = np.log(flops)
        n = np.exp(self.lines[:, 0] + self.lines[:, 1] * log_c)
        d = np.exp(self.lines[:, 2] + self.lines[:, 3] * log_c)
        return interval(n[0], n[1:], level), interval(d[0], d[1:], level)


def frontier(
    approach: str,
    lines: Array,
    optima: Points,
    *,
    refused: list[str] | None = None,
    warnings: list[Warned] | None = None,
    notes: list[str] | None = None,
    level: float = 0.95,
) -> Frontier:
    """A frontier of its lines, (draws, 4). Raises LawError where hardly any resample has one."""
    lines = lines[np.isfinite(lines).all(-1)]
    if len(lines) < 3:
        raise LawError(
            f"{approach}: hardly any resample has a power law; more budgets, sizes or runs are needed"
        )
    a, b = (interval(lines[0, k], lines[1:, k], level) for k in (1, 3))
    return Frontier(approach, a, b, optima, lines, refused or [], warnings or [], notes or [])


def line(x: Array, y: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """The intercept and slope of least squares of y (…, points) over x (points,), (…,) each."""
    weight = np.ones_like(y) if weight is None else weight
    total = weight.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle_x, middle_y = (weight * x).sum(-1) / total, (weight * y).sum(-1) / total
        off = x - middle_x[..., None]
        slope = (weight * off * (y - middle_y[..., None])).sum(-1) / (weight * off * off).sum(-1)
        return middle_y - slope * middle_x, slope


def positive(points: Points, names: tuple[str, ...]) -> None:
    """Raise LawError where one of these columns has a value that is not positive."""
    for name in names:
        if (points[name] <= 0).any():
            first = int(np.flatnonzero(points[name] <= 0)[0])
            raise LawError(f"{name} must be positive, but point {first + 1} has {points[name][first]:g}")
