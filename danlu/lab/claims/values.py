"""What runs measured → the value of an arm → the effect of a seed. Plain numbers, no runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, pairwise
from statistics import fmean
from typing import Literal

Made = Literal[  # of the runs of an arm over points
    "argbest", "sensitivity", "ceiling", "slope", "drop", "hump", "jump", "vertex"
]  # fmt: skip

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
        case "hump":
            return hump([_costs(curve, sign)[1] for curve in curves])
        case "jump":
            return jump([_costs(curve, sign)[1] for curve in curves])
        case "vertex":
            return vertex(_costs(curves[0], sign)[0], [_costs(curve, sign)[1] for curve in curves])


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


def hump(costs: Sequence[Sequence[float]]) -> list[float]:
    """How far the costs rise and then fall again, the lesser of the two: y_j − max(y_i, y_k), i < j < k. For
    each seed the three points are those of the greatest hump in the mean of the *other* seeds, so that its
    own noise does not choose them; where there is no hump, that is 0 or less on average."""

    def of(y: Sequence[float], places: tuple[int, int, int]) -> float:
        i, j, k = places
        return y[j] - max(y[i], y[k])

    def greatest(y: Sequence[float]) -> tuple[int, int, int]:
        return max(combinations(range(len(y)), 3), key=lambda places: of(y, places))

    return [of(mine, greatest(others)) for mine, others in _apart(costs)]


def jump(costs: Sequence[Sequence[float]]) -> list[float]:
    """The largest fall between two neighbouring points, as a share of the whole fall from first to last of
    the mean over seeds; where it lies the *other* seeds say, as for ``hump``."""
    whole = fmean(drop(row) for row in costs)

    def steepest(y: Sequence[float]) -> int:
        return max(range(len(y) - 1), key=lambda i: y[i] - y[i + 1])

    places = [(mine, steepest(others)) for mine, others in _apart(costs)]
    return [(mine[i] - mine[i + 1]) / whole if whole > 0 else math.nan for mine, i in places]


def vertex(x: Sequence[float], costs: Sequence[Sequence[float]]) -> list[float]:
    """Where the least-squares parabola through all points is lowest (Hoffmann et al. 2022, section 3.2): the
    slope in the middle is each seed's own, the bend that of the mean over seeds, since a quotient of two
    noisy numbers has no mean. nan where that bends downwards."""
    middle = fmean(x)
    z = [value - middle for value in x]
    square = [a * a - fmean(b * b for b in z) for a in z]
    linear = _without(z, square)
    bent = _without(square, z)
    bend = fmean(map(partial(slope, bent), costs))
    if not bend > 0:
        return [math.nan] * len(costs)
    return [middle - slope(linear, row) / (2 * bend) for row in costs]


def _without(x: Sequence[float], other: Sequence[float]) -> list[float]:
    """What is left of ``x`` by a least-squares line in ``other``; both of mean zero."""
    share = math.fsum(map(math.prod, zip(x, other, strict=True))) / math.fsum(b * b for b in other)
    return [a - share * b for a, b in zip(x, other, strict=True)]


def _apart(costs: Sequence[Sequence[float]]) -> Iterator[tuple[Sequence[float], list[float]]]:
    """The costs of each seed, and the mean of all others; nan where there is none, or a run is missing."""
    for i, mine in enumerate(costs):
        others = [*costs[:i], *costs[i + 1 :]]
        known = others and not any(math.isnan(value) for row in costs for value in row)
        if known:
            yield mine, [fmean(column) for column in zip(*others, strict=True)]
        else:
            yield [math.nan] * len(mine), [math.nan] * len(mine)


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
