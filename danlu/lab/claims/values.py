"""What runs measured → the value of an arm → the effect of a seed. Plain numbers, no runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Literal

Made = Literal["argbest", "sensitivity", "ceiling", "slope", "drop"]  # of the runs of an arm over points

# What the runs of an arm with one seed measured, by point; without points, by None alone.
Curve = Mapping[float | None, float]


def of_points(
    of: Made | None,
    curves: Sequence[Curve],
    *,
    sign: int = 1,
    starts: Sequence[float] = (),
    level: float = math.nan,
) -> list[float]:
    """One number of an arm for each seed, ``of`` its curve; nan where a run that it takes is missing.

    ``sign``: −1 where higher is better of what was measured; ``starts``: for ``sensitivity`` and ``ceiling``,
    the measure of the initial weights by seed; ``level``: for ``ceiling``, the cost to stay below.
    """
    match of:
        case None:
            return [value for curve in curves for value in curve.values()]
        case "sensitivity":
            return sensitivity(curves, sign, starts)
        case "ceiling":
            floors = zip(curves, starts, strict=True)
            return [ceiling(*_costs(curve, sign, start), level) for curve, start in floors]
        case "argbest":
            return [lowest(*_costs(curve, sign)) for curve in curves]
        case "slope":
            return [slope(*_logs(curve)) for curve in curves]
        case "drop":
            return [drop(list(curve.values())) for curve in curves]


def effects(
    contrast: Mapping[str, float], values: Mapping[str, Sequence[float]], scale: str = "linear"
) -> list[float]:
    """The effect of each seed: Σ weight · value of the arm with that seed, nan where one is missing."""
    scaled = {arm: [_log2(v) if scale == "log2" else v for v in values[arm]] for arm in contrast}
    return [
        math.fsum(weight * v for weight, v in zip(contrast.values(), row, strict=True))
        for row in zip(*scaled.values(), strict=True)
    ]


def common_lowest(arms: Sequence[Sequence[Curve]], sign: int = 1) -> float:
    """The lowest mean cost over seeds of any arm at any point, from which a ``ceiling`` is counted; infinite
    where no point has all its runs."""
    means = [
        fmean(sign * curve[point] for curve in curves)
        for curves in arms
        for point in curves[0]
        if not any(math.isnan(curve[point]) for curve in curves)
    ]
    return min(means, default=math.inf)


def sensitivity(curves: Sequence[Curve], sign: int, starts: Sequence[float]) -> list[float]:
    """How much is lost, on average over log rates, to the best (Wortsman et al. 2023, arXiv:2309.14322):
    S = E_η[min(ℓ(η), ℓ₀)] − ℓ*, ℓ₀ the loss at the start, at which a run that diverged is counted.

    The mean over log η is that of the trapezoid rule, ℓ* the seed's own loss at the point where the mean over
    seeds is lowest: the lowest of each seed would be a lucky one."""
    costs = [_costs(curve, sign, start)[1] for curve, start in zip(curves, starts, strict=True)]
    if any(map(math.isnan, (value for row in costs for value in row))):
        return [math.nan] * len(costs)
    x, _ = _costs(curves[0], sign)
    means = [fmean(column) for column in zip(*costs, strict=True)]
    best = means.index(min(means))
    return [area(x, row) / (x[-1] - x[0]) - row[best] for row in costs]


def ceiling(x: Sequence[float], costs: Sequence[float], level: float) -> float:
    """The largest ``x`` up to which the straight lines through the points stay at or below ``level`` when one
    comes from above; the last x where it lies below itself, nan where nothing does."""
    if math.isnan(level) or any(map(math.isnan, costs)):
        return math.nan
    last = max((i for i, cost in enumerate(costs) if cost <= level), default=None)
    if last is None:
        return math.nan
    if last == len(x) - 1:
        return x[-1]
    share = (level - costs[last]) / (costs[last + 1] - costs[last])
    return x[last] + share * (x[last + 1] - x[last])


def lowest(x: Sequence[float], y: Sequence[float]) -> float:
    """Where ``y`` is lowest: the vertex of the parabola through the lowest point and its neighbours, or the
    end where it lies at one. ``x`` ascends; what is nan is higher than all else, nan where all are."""
    high = [math.inf if math.isnan(value) else value for value in y]
    i = min(range(len(high)), key=high.__getitem__)
    if math.isinf(high[i]):
        return math.nan
    if i in (0, len(y) - 1) or math.isinf(high[i - 1]) or math.isinf(high[i + 1]):
        return x[i]
    left, right = (y[i] - y[i - 1]) / (x[i] - x[i - 1]), (y[i + 1] - y[i]) / (x[i + 1] - x[i])
    if left == right:  # level
        return x[i]
    middle_left, middle_right = (x[i - 1] + x[i]) / 2, (x[i] + x[i + 1]) / 2
    return middle_left - left * (middle_right - middle_left) / (right - left)


def area(x: Sequence[float], y: Sequence[float]) -> float:
    """Below the straight lines through the points."""
    return math.fsum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(zip(x, y, strict=True)))


def drop(values: Sequence[float]) -> float:
    """The first less the last; nan where any is missing."""
    return math.nan if any(map(math.isnan, values)) else values[0] - values[-1]


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The least-squares slope."""
    middle = fmean(x)
    return math.fsum((a - middle) * b for a, b in zip(x, y, strict=True)) / math.fsum(
        (a - middle) ** 2 for a in x
    )


def _costs(curve: Curve, sign: int, start: float | None = None) -> tuple[list[float], list[float]]:
    """log₂ of the points and the costs there, at most that of the ``start``, which a missing run counts."""
    x = [_log2(point or math.nan) for point in curve]
    costs = [sign * value for value in curve.values()]
    if start is None:
        return x, costs
    return x, [sign * start if math.isnan(cost) else min(cost, sign * start) for cost in costs]


def _logs(curve: Curve) -> tuple[list[float], list[float]]:
    return [_log2(point or math.nan) for point in curve], [_log2(value) for value in curve.values()]


def _log2(value: float) -> float:
    return math.log2(value) if value > 0 else math.nan
