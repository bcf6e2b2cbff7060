"""What runs measured → the value of an arm → the effect of a seed → the verdict. Plain numbers, no runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from danlu.lab.claims.book import Claim, Rule
from danlu.lab.statistics import Interval

Verdict = Literal["holds", "does not hold", "not shown"]


def arm_value(claim: Claim, measured: Mapping[Any, float], sign: int = 1) -> float:
    """One number of an arm with one seed from what its runs measured, by point; nan where one of those that
    it takes is missing. ``sign``: −1 where higher is better of what was measured."""
    if claim.of is None:
        (value,) = measured.values()
        return value
    values = list(measured.values())
    if any(math.isnan(value) for value in values):
        return math.nan
    if claim.of == "drop":
        return values[0] - values[-1]
    costs = [sign * value for value in values]
    if claim.of == "best":
        return sign * min(costs)
    x = [math.log2(point) for point in measured]
    if claim.of == "argbest":
        return lowest(x, costs)
    if claim.of == "range":
        assert claim.margin is not None
        return length_below(x, costs, min(costs) + claim.margin)
    return slope(x, [_log2(value) for value in values])


def effects(claim: Claim, values: Mapping[str, Sequence[float]]) -> list[float]:
    """The effect of each seed: Σ weight · value of the arm with that seed, nan where one is missing."""
    scaled = {
        arm: [_log2(v) if claim.scale == "log2" else v for v in of_arm] for arm, of_arm in values.items()
    }
    return [
        math.fsum(weight * v for weight, v in zip(claim.contrast.values(), row, strict=True))
        for row in zip(*(scaled[arm] for arm in claim.contrast), strict=True)
    ]


def judge(rule: Rule, found: Interval) -> Verdict:
    """*holds* where the whole interval obeys the rule, *does not hold* where none of it does."""
    low, high = rule.bounds
    if low < found.low and found.high < high:
        return "holds"
    return "does not hold" if found.high < low or found.low > high else "not shown"


def lowest(x: Sequence[float], y: Sequence[float]) -> float:
    """Where ``y`` is lowest: the vertex of the parabola through the lowest point and its neighbours, or the
    end where it lies at one. ``x`` ascends."""
    i = min(range(len(y)), key=y.__getitem__)
    if i in (0, len(y) - 1):
        return x[i]
    left, right = (y[i] - y[i - 1]) / (x[i] - x[i - 1]), (y[i + 1] - y[i]) / (x[i + 1] - x[i])
    if left == right:  # level
        return x[i]
    middle_left, middle_right = (x[i - 1] + x[i]) / 2, (x[i] + x[i + 1]) / 2
    return middle_left - left * (middle_right - middle_left) / (right - left)


def length_below(x: Sequence[float], y: Sequence[float], level: float) -> float:
    """How much of ``x`` the straight lines through the points spend at or below ``level``."""
    total = 0.0
    for (x0, y0), (x1, y1) in zip(zip(x, y, strict=True), zip(x[1:], y[1:], strict=True), strict=False):
        low, high = sorted((y0, y1))
        if high <= level:
            total += x1 - x0
        elif low <= level:
            total += (x1 - x0) * (level - low) / (high - low)
    return total


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The least-squares slope."""
    middle = math.fsum(x) / len(x)
    return math.fsum((a - middle) * b for a, b in zip(x, y, strict=True)) / math.fsum(
        (a - middle) ** 2 for a in x
    )


def _log2(value: float) -> float:
    return math.log2(value) if value > 0 else math.nan
