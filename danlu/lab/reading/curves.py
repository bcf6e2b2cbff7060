"""Curves of runs: what was measured over steps, active time, FLOPs or tokens; read, met at an x, averaged."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from danlu.lab.reading.run import METRICS, score

T = TypeVar("T")
Curve = list[tuple[float, float]]  # x rising

AXES = {"steps": "step", "time": "seconds", "flops": "flops", "tokens": "tokens"}  # x → its name in a row
UNITS = {"steps": "steps", "time": "active seconds", "flops": "FLOPs", "tokens": "tokens"}


def check_axis(x: str) -> None:
    """Raises ``LabError`` for what is no axis of curves."""
    if x not in UNITS:
        from danlu.lab.errors import LabError

        raise LabError(f"--x = {x} is none of {', '.join(UNITS)}")


def read_curve(folder: Path, metric: str, x: str = "steps", counted: str = "tokens") -> Curve:
    """What the run in ``folder`` measured of ``metric``, in the order of x; empty where it did not.
    ``counted``: what stands for the axis ``tokens`` in a run that counts something else.

    ``metric``: a name in ``metrics.jsonl``, also of what ``train.internals_every`` writes; where the run
    keeps an average of its weights, that of the average. Raises ``RunError`` for a damaged file.
    """
    from danlu.train.metrics import read

    rows = read(folder / METRICS)
    per_unit = flops_per_unit(rows, counted)
    points = (point(row, metric, x, counted, per_unit) for row in rows)
    return sorted(dict(one for one in points if one is not None).items())


def point(
    row: Mapping[str, Any], metric: str, x: str, counted: str, per_unit: float
) -> tuple[float, float] | None:
    """(x, y) of what a row measured of ``metric``, of which names and axes are those of ``read_curve``; None
    where it did not, or where x is not known. ``per_unit``: ``flops_per_unit``."""
    value = score(row, metric) if metric in row else row.get("inside", {}).get(metric)
    at = row.get(counted if x == "tokens" else AXES[x])
    if at is None and x == "flops":  # evaluations don't tell them
        at = per_unit * row.get(counted, math.nan)
    return None if value is None or at is None else (float(at), float(value))


def flops_per_unit(rows: Sequence[Mapping[str, Any]], counted: str) -> float:
    """FLOPs for each of what is ``counted``, by the last row that tells them; NaN where none does."""
    told = next((row for row in reversed(rows) if row.get("flops") and row.get(counted)), None)
    return float(told["flops"] / told[counted]) if told else math.nan


def metrics_in(folder: Path) -> list[str]:
    """The names of what a run measured."""
    from danlu.train.metrics import read

    names: dict[str, None] = {}
    for row in read(folder / METRICS):
        names.update(dict.fromkeys([*(name for name in row if name != "inside"), *row.get("inside", {})]))
    return [name for name in names if name not in AXES.values()]


def at(curve: Curve, x: float) -> float:
    """The curve's y at ``x``: what was measured there, or between two measurements linear in log x; NaN
    before the first and after the last."""
    i = bisect_left(curve, x, key=lambda point: point[0])
    if i < len(curve) and math.isclose(curve[i][0], x, rel_tol=1e-9):
        return curve[i][1]
    if i and math.isclose(curve[i - 1][0], x, rel_tol=1e-9):
        return curve[i - 1][1]
    if i == 0 or i == len(curve):
        return math.nan
    (left, low), (right, high) = curve[i - 1], curve[i]
    share = math.log(x / left) / math.log(right / left) if left > 0 else (x - left) / (right - left)
    return low + share * (high - low)


def thinned(points: Sequence[T], most: int) -> list[T]:
    """At most so many of the points, evenly by their place, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def common_end(curves: Sequence[Curve]) -> float:
    """The last x that all curves reach; NaN where one is empty."""
    return min((curve[-1][0] if curve else math.nan for curve in curves), default=math.nan)


def average(curves: Sequence[Curve]) -> list[tuple[float, float, float, float]]:
    """(x, mean, lowest, highest) of several curves: where they have as many points, as runs evaluated at the
    same steps do, of the first points, the second, …, at their mean x; else where all of them are known."""
    if len({len(curve) for curve in curves}) == 1:
        places = [([x for x, _ in points], [y for _, y in points]) for points in zip(*curves, strict=True)]
        return [(fmean(xs), fmean(ys), min(ys), max(ys)) for xs, ys in places]
    xs = sorted({x for curve in curves for x, _ in curve})
    rows = ((x, [at(curve, x) for curve in curves]) for x in xs)
    return [(x, fmean(ys), min(ys), max(ys)) for x, ys in rows if all(map(math.isfinite, ys))]
