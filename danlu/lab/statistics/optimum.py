"""The best value of a setting, and how well it is known, from losses at several values of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, NamedTuple

from danlu.lab.errors import LabError
from danlu.lab.statistics.means import LEVEL, check_level, t_quantile

NEAR = 0.3  # bits above the lowest: farther points say how steep the walls are, not where the bottom lies
BEYOND = 2  # points by which a border is extended

Side = Literal["low", "high"]


@dataclass(frozen=True)
class Optimum:
    """Where the loss is lowest.

    ``x``: the vertex of the parabola where that is ``interior``, else the best point tried; nan where every
    run diverged. ``low``, ``high``: its interval. ``value``: the loss there. ``extend``: on which side points
    are missing where it is not interior, ``further``: those to try next. ``fitted``: points that the parabola
    went through. ``why``: it is not interior, or nothing fitted the bottom; empty otherwise.
    """

    x: float
    low: float
    high: float
    value: float
    interior: bool
    extend: Side | None
    further: tuple[float, ...]
    fitted: int
    why: str = ""


class Parabola(NamedTuple):
    """a + b·z + c·z² with z = x − ``centre``, the (co)variances of b and c, and their degrees of freedom."""

    centre: float
    a: float
    b: float
    c: float
    bb: float
    bc: float
    cc: float
    df: int

    @property
    def vertex(self) -> float:
        return self.centre - self.b / (2 * self.c)

    @property
    def value(self) -> float:
        return self.a - self.b**2 / (4 * self.c)

    def interval(self, level: float) -> tuple[float, float]:
        """Fieller's: the z with (b + 2cz)² ≤ t²(v_bb + 4z·v_bc + 4z²·v_cc), infinite on both sides where c is
        not shown to differ from zero (Fieller 1954)."""
        t = t_quantile(self.df, level)
        if math.isinf(t):
            return -math.inf, math.inf
        square = 4 * (self.c**2 - t**2 * self.cc)
        linear = 4 * (self.b * self.c - t**2 * self.bc)
        rest = self.b**2 - t**2 * self.bb
        if square <= 0:
            return -math.inf, math.inf
        root = math.sqrt(max(linear**2 - 4 * square * rest, 0.0))
        return self.centre + (-linear - root) / (2 * square), self.centre + (-linear + root) / (2 * square)


def locate(points: Mapping[float, Sequence[float]], near: float = NEAR, level: float = LEVEL) -> Optimum:
    """The best x from the losses of seeds at each: a parabola by least squares through all runs at points
    whose mean lies within ``near`` (in the unit of the loss; .3 is meant in bits) of the lowest, three of
    them at least, with a level for each seed where all points have the same seeds, in the same order.

    x is meant as log2 of a rate. A point at which a seed diverged (nan) is worse than any other and is not
    fitted. The optimum is interior where neither the vertex nor the lowest point is nearer to an outermost
    point than to all others, c > 0, and Fieller's interval is bounded, on each side by itself or by a point
    that diverged. A loss that falls up to the first such point has its best at the last before it. Raises
    ``LabError`` where there is no point.
    """
    check_level(level)
    if not points:
        raise LabError("an optimum needs losses at some values, and there are none")
    tried = sorted(points)
    means = {x: _mean(points[x]) for x in tried}
    finite = [x for x in tried if means[x] < math.inf]
    if not finite:
        return _outside(tried, math.nan, math.nan, "low", 0, "every run diverged")
    best = min(finite, key=means.__getitem__)
    if best in (tried[0], tried[-1]):
        side: Side = "low" if best == tried[0] else "high"
        return _outside(tried, best, means[best], side, 0, f"the lowest loss is at the {side} border")
    lower = max((x for x in tried if x < best and means[x] == math.inf), default=-math.inf)
    upper = min((x for x in tried if x > best and means[x] == math.inf), default=math.inf)
    held = [x for x in finite if lower < x < upper]
    close = [x for x in held if means[x] <= means[best] + near]
    if len(close) < 3:
        close = sorted(sorted(held, key=lambda x: abs(x - best))[:3])
    open_side: Side = "low" if upper < math.inf else "high"
    if len(close) < 3:
        return _outside(tried, best, means[best], open_side, 0, "fewer than three points did not diverge")
    fit = _parabola({x: points[x] for x in close})

    def outside(side: Side, why: str) -> Optimum:
        return _outside(tried, best, means[best], side, len(close), why)

    falls_to_the_edge = best == held[-1] and upper < math.inf
    if falls_to_the_edge and (fit.c <= 0 or fit.vertex > best):
        before = tried[tried.index(best) - 1]
        why = "the loss falls until it diverges"
        return Optimum(best, before, upper, means[best], True, None, (), len(close), why)
    if fit.c <= 0:
        side = "low" if means[held[0]] < means[held[-1]] else open_side
        return outside(side, "the losses do not bend upwards")
    if fit.vertex < (tried[0] + tried[1]) / 2:
        return outside("low", "the parabola is lowest beyond the low border")
    if fit.vertex > (tried[-2] + tried[-1]) / 2:
        return outside("high", "the parabola is lowest beyond the high border")
    low, high = fit.interval(level)
    low, high = max(low, lower), min(high, upper)
    if math.isinf(low) or math.isinf(high):
        nearer_low = fit.vertex < (tried[0] + tried[-1]) / 2
        side = open_side if upper < math.inf or not nearer_low else "low"
        return outside(side, "the curve is too flat for its noise to say where it is lowest")
    return Optimum(fit.vertex, low, high, fit.value, True, None, (), len(close))


def _mean(losses: Sequence[float]) -> float:
    """Infinite where a run diverged, or there is none."""
    return fmean(losses) if losses and all(map(math.isfinite, losses)) else math.inf


def _outside(tried: Sequence[float], x: float, value: float, side: Side, fitted: int, why: str) -> Optimum:
    """Not interior: the points to try next, as far apart as the two outermost on that side."""
    edge, inner = (tried[0], tried[1:2]) if side == "low" else (tried[-1], tried[-2:-1])
    step = edge - inner[0] if inner else (-1.0 if side == "low" else 1.0)
    further = tuple(edge + step * i for i in range(1, BEYOND + 1))
    return Optimum(x, -math.inf, math.inf, value, False, side, tuple(sorted(further)), fitted, why)


def _parabola(points: Mapping[float, Sequence[float]]) -> Parabola:
    """By least squares over all runs."""
    import numpy as np

    x = np.concatenate([np.full(len(losses), at) for at, losses in points.items()])
    loss = np.concatenate([np.asarray(losses, float) for losses in points.values()])
    centre = float(x.mean())
    z = x - centre
    seeds = {len(losses) for losses in points.values()}
    # A level for each seed, as contrasts that add up to zero: what the runs of a seed have in common cancels.
    levels = min(seeds) - 1 if len(seeds) == 1 else 0
    each = np.vstack([np.eye(levels), -np.ones(levels)]) if levels else np.zeros((1, 0))
    design = np.column_stack([z**0, z, z**2, np.tile(each, (len(loss) // len(each), 1))])
    found, *_ = np.linalg.lstsq(design, loss, rcond=None)
    df = len(loss) - design.shape[1]
    rest = float(((loss - design @ found) ** 2).sum())
    covariance = np.linalg.inv(design.T @ design) * (rest / df if df else 0.0)
    a, b, c = (float(one) for one in found[:3])
    bb, bc, cc = float(covariance[1, 1]), float(covariance[1, 2]), float(covariance[2, 2])
    return Parabola(centre, a, b, c, bb, bc, cc, df)
