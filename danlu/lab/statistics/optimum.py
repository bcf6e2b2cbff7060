"""The best value of a setting, and how well it is known, from losses at several values of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal, NamedTuple

from danlu.lab.errors import LabError
from danlu.lab.statistics.means import LEVEL, check_level, t_quantile

NEAR = 0.3  # bits above the lowest: farther points say how steep the walls are, not where the bottom lies
CLOSE = 2.0  # in place of it where the unit is not known: times as far above the lowest as the third lowest
LOPSIDED = 10.0  # times as far above as the second lowest: then the third is a wall, too
BEYOND = 2  # points by which a border is extended
CLEAR = (
    0.999  # level at which a point is clearly worse: a curve that is flat everywhere must not seem to bend
)
# Of the noise of a run: what some other place of a flat bottom may be expected to be better by. The mean
# difference of five pairs of runs is known to 1.8 of it, and both sides of a comparison have such an excess.
SMALL = 0.4

Side = Literal["low", "high"]


@dataclass(frozen=True)
class Optimum:
    """Where the loss is lowest.

    ``x``: the vertex of the parabola where that is ``interior``, else the best point tried; nan where every
    run diverged. ``low``, ``high``: its interval. ``value``: the loss there. ``extend``: on which side points
    are missing where it is not interior, ``further``: those to try next; none and empty where they are
    missing between those tried. ``fitted``: points that the parabola went through. ``why``: it is not
    interior, or nothing fitted the bottom; empty otherwise.
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
    """a + b·z + c·z² with z = x − ``centre``, the (co)variances of b and c, their degrees of freedom, and the
    standard deviation of a run."""

    centre: float
    a: float
    b: float
    c: float
    bb: float
    bc: float
    cc: float
    df: int
    noise: float

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

    def at(self, x: float) -> float:
        """The loss at x."""
        z = x - self.centre
        return self.a + self.b * z + self.c * z**2

    def better(self, x: float, there: float) -> float:
        """By how much the loss is expected to be lower ``there`` than at x, counting 0 where it is higher:
        the expected improvement of a normal difference."""
        from scipy.special import ndtr

        z, y = x - self.centre, there - self.centre
        one, two = z - y, z**2 - y**2
        mean = self.b * one + self.c * two
        scale = math.sqrt(max(self.bb * one**2 + 2 * self.bc * one * two + self.cc * two**2, 0.0))
        if not scale:
            return max(mean, 0.0)
        density = math.exp(-((mean / scale) ** 2) / 2) / math.sqrt(2 * math.pi)
        return mean * float(ndtr(mean / scale)) + scale * density


def locate(
    points: Mapping[float, Sequence[float]], near: float | None = NEAR, level: float = LEVEL
) -> Optimum:
    """The best x from the losses of seeds at each: a parabola by least squares through all runs at points
    whose mean lies within ``near`` (in the unit of the loss; .3 is meant in bits) of the lowest, three of
    them at least, with a level for each seed where all points have the same seeds, in the same order. Where
    ``near`` is none the unit of the loss is not known, and the curve itself says what is near.

    x is meant as log2 of a rate. A point at which a seed diverged (nan) is worse than any other and is not
    fitted. The optimum is interior where neither the vertex nor the lowest point is nearer to an outermost
    point than to all others, c > 0, and Fieller's interval is bounded, on each side by itself or by a point
    that diverged. A loss that falls up to the first such point has its best at the last before it. Where the
    bottom is too flat for its noise, and on both sides points are clearly worse, any place at the bottom will
    do whose expected excess is small against what a comparison can see (``SMALL``): then it is interior too;
    else points are missing between those tried. Raises ``LabError`` where there is no point.
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
        why = f"the lowest loss is at the {side} border"
        return _outside(tried, best, means[best], side, 0, why, wide=near is None)
    lower = max((x for x in tried if x < best and means[x] == math.inf), default=-math.inf)
    upper = min((x for x in tried if x > best and means[x] == math.inf), default=math.inf)
    held = [x for x in finite if lower < x < upper]
    noise = _noise([points[x] for x in sorted(finite, key=means.__getitem__)])
    told = near is not None
    near = _near([means[x] - means[best] for x in held], noise.of_means) if near is None else near
    close = [x for x in held if means[x] <= means[best] + near]
    alone = len(close) < 3
    if alone:
        close = sorted(sorted(held, key=lambda x: abs(x - best))[:3])
    open_side: Side = "low" if upper < math.inf else "high"
    if len(close) < 3:
        return _outside(tried, best, means[best], open_side, 0, "fewer than three points did not diverge")
    fit = _parabola({x: points[x] for x in close})

    def outside(side: Side, why: str) -> Optimum:
        bottom, walled = _bottom(tried, means, best, noise.reach(len(tried)))
        if all(walled):
            return _flat({x: points[x] for x in bottom}, tried, best, means[best], why)
        if any(walled):
            side = "high" if walled[0] else "low"
        return _outside(tried, best, means[best], side, len(close), why, wide=not told)

    if alone and not told:
        return outside(open_side, "too few points are near the lowest loss")
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


class Noise(NamedTuple):
    """Of the mean over the seeds of a point, against another point's: the standard deviation of their
    difference where both are equal, and its degrees of freedom, 0 where it is not known."""

    of_means: float
    df: int

    def reach(self, tried: int) -> float:
        """How far above the lowest of so many points one is clearly worse (Bonferroni)."""
        return self.of_means * t_quantile(self.df, 1 - (1 - CLEAR) / tried) if self.df else math.inf


def _noise(lowest: Sequence[Sequence[float]]) -> Noise:
    """From the half of the points that are lowest, which come first: what is left of their losses without the
    mean of a point and the level of a seed. A wall among them, by the median of these, does not count."""
    import numpy as np

    seeds = min(map(len, lowest))
    some = lowest[: max(3, (len(lowest) + 1) // 2)]
    if seeds < 2 or len(some) < 2 or seeds < max(map(len, lowest)):
        return Noise(0.0, 0)
    left = np.asarray(some, float)
    left = left - left.mean(1, keepdims=True)
    size = np.abs(left - np.median(left, axis=0)).max(1)
    left = left[size <= LOPSIDED * float(np.median(size))]
    df = (len(left) - 1) * (seeds - 1)
    variance = float(((left - left.mean(0)) ** 2).sum()) / df if df else 0.0
    return Noise(math.sqrt(variance * 2 / seeds), df)


def _near(excess: Sequence[float], noise: float) -> float:
    """What is near the lowest loss where the unit is not known: by the third lowest, if that is no wall."""
    if len(excess) < 3:
        return math.inf
    _, second, third = sorted(excess)[:3]
    second = max(second, noise)
    return CLOSE * (third if third <= LOPSIDED * second else second)


def _bottom(
    tried: Sequence[float], means: Mapping[float, float], best: float, reach: float
) -> tuple[list[float], tuple[bool, bool]]:
    """The points about the best that are not clearly worse, and whether there are such below and above."""
    i = j = tried.index(best)
    while i > 0 and means[tried[i - 1]] - means[best] <= reach:
        i -= 1
    while j < len(tried) - 1 and means[tried[j + 1]] - means[best] <= reach:
        j += 1
    return list(tried[i : j + 1]), (i > 0, j < len(tried) - 1)


def _flat(
    bottom: Mapping[float, Sequence[float]], tried: Sequence[float], best: float, value: float, why: str
) -> Optimum:
    """The vertex of the bottom, or the point of it that has least to gain from any other: interior where that
    is little."""
    low, high = min(bottom), max(bottom)
    if len(bottom) < 3:
        return _between(best, value, len(bottom), why)
    fit = _parabola(bottom)
    places = [*bottom, min(max(fit.vertex, low), high)] if fit.c > 0 else [*bottom]
    gain = {x: max(fit.better(x, there) for there in bottom) for x in places}
    x = min(gain, key=gain.__getitem__)
    if not fit.df or gain[x] > SMALL * fit.noise:
        return _between(x, value, len(bottom), why)
    below, above = tried[tried.index(low) - 1], tried[tried.index(high) + 1]
    return Optimum(x, below, above, fit.at(x), True, None, (), len(bottom))


def _between(x: float, value: float, fitted: int, why: str) -> Optimum:
    """Not known well enough: points are missing about x, between those tried."""
    return Optimum(x, -math.inf, math.inf, value, False, None, (), fitted, why)


def _mean(losses: Sequence[float]) -> float:
    """Infinite where a run diverged, or there is none."""
    return fmean(losses) if losses and all(map(math.isfinite, losses)) else math.inf


def _outside(
    tried: Sequence[float],
    x: float,
    value: float,
    side: Side,
    fitted: int,
    why: str,
    wide: bool = False,
) -> Optimum:
    """Not interior: the points to try next, as far apart as the two outermost on that side; ``wide``: as any
    two that are neighbours, since those on that side may have been put between others."""
    edge, inner = (tried[0], tried[1:2]) if side == "low" else (tried[-1], tried[-2:-1])
    step = edge - inner[0] if inner else (-1.0 if side == "low" else 1.0)
    if wide and inner:
        step = math.copysign(max(b - a for a, b in pairwise(tried)), step)
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
    return Parabola(centre, a, b, c, bb, bc, cc, df, math.sqrt(rest / df) if df else 0.0)
