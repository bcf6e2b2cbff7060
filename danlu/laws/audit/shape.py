"""What the design cannot tell, and where the law bends away from the points."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array
from danlu.laws.doubt import residual_rows
from danlu.laws.errors import Warned
from danlu.laws.fit import Fit, residuals
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN, distinct

LEVEL = 0.01  # of a false alarm of bending, for all tests together
SHARE = 0.3  # of the scatter that the mean of an end is off, at least
WINSOR = 3.0  # robust standard deviations: how much one residual may say
FEWEST = 7  # rows: both ends have three at least, and the middle one
SPREAD = 4.0  # ratio of D/N that size and data need to be told apart
DRIFT = 0.1  # of ln C/6ND from the least to the largest budget


@dataclass(frozen=True)
class Bend:
    """Residuals against a column. ``trend``, ``bend``: t of a straight line and of a parabola in its
    logarithm; ``p``: of the larger one, for all tests together. ``ends``: the mean residual of the lowest
    tenth, of the middle and of the highest tenth, measured − predicted (a share where residuals are of a
    logarithm). ``matters``: p is below the level, and an end is off by a good part of the scatter."""

    over: str
    trend: float
    bend: float
    p: float
    ends: tuple[float, float, float]
    matters: bool


def lack_of_fit(
    fit: Fit, theta: Array, kept: NDArray[np.bool_], cluster: NDArray[np.int64] | None = None
) -> list[Bend]:
    """Whether what the law leaves depends on D/N or on C (on the law's columns, where these are absent).

    Score tests: residuals, cut at three standard deviations, against the logarithm and its square as far as
    the law's own gradient does not explain them; the error is that of White (1980), of clusters where there
    are some. ``theta``, ``kept``: parameters, and the rows that they were fitted to.
    """
    from scipy.special import stdtr

    points = fit.points.with_compute()
    over = {name.upper(): points[name] for name in ("c",) if name in points}
    if {"n", "d"} <= points.keys():
        over = {"D/N": points["d"] / points["n"], **over}
    over = over or {name: points[name] for name in fit.law.columns if (points[name] > 0).all()}
    r = -residuals(fit.law, theta, points)[kept]
    scale = max(1.4826 * float(np.median(np.abs(r))), 1e-12)
    score = np.clip(r / scale, -WINSOR, WINSOR)
    rows = residual_rows(replace(fit, vector=theta))[:, kept].T
    rows = rows / np.maximum(np.linalg.norm(rows, axis=0), 1e-300)
    group = np.arange(len(r)) if cluster is None else np.unique(cluster[kept], return_inverse=True)[1]
    free = int(group.max()) + 1 - rows.shape[1]
    bends = []
    for name, values in over.items():
        x = np.log(values[kept])
        if free < 3 or len(x) < FEWEST or np.ptp(x) < 1e-6:
            continue
        x = (x - x.mean()) / x.std()
        trend, bend = (_score(part, score, rows, group) for part in (x, x**2 - 1))
        p = min(1.0, 2 * len(over) * 2 * float(stdtr(free, -max(abs(trend), abs(bend)))))
        ordered, tenth = r[np.argsort(x, kind="stable")], max(3, len(x) // 10)
        parts = ordered[:tenth], ordered[tenth:-tenth], ordered[-tenth:]
        ends = (float(parts[0].mean()), float(parts[1].mean()), float(parts[2].mean()))
        bends.append(Bend(name, trend, bend, p, ends, p < LEVEL and max(map(abs, ends)) > SHARE * scale))
    return bends


def contradicted(
    fit: Fit, given: NDArray[np.bool_], cluster: Array | NDArray[np.int64] | None = None
) -> tuple[str, float]:
    """Of parameters that the points did not decide alone (``given``, (parameters,)), the one that they would
    move most surely, and p, for all of these together: score tests as of ``lack_of_fit``; "", 1 where none
    can be tested."""
    from scipy.special import stdtr

    free = np.flatnonzero(fit.free)
    rows = residual_rows(fit).T
    rows = rows / np.maximum(np.linalg.norm(rows, axis=0), 1e-300)
    group = np.arange(len(rows)) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    left = int(group.max()) + 1 - len(free)
    if left < 3 or not given[free].any():
        return "", 1.0
    scale = max(1.4826 * float(np.median(np.abs(fit.residuals))), 1e-12)
    score, own = np.clip(-fit.residuals / scale, -WINSOR, WINSOR), rows[:, ~given[free]]
    found = {
        place: abs(_score(row, score, own, group))
        for place, row in zip(free, rows.T, strict=True)
        if given[place]
    }
    most = max(found, key=found.__getitem__)
    return fit.law.names[most], min(1.0, 2 * len(found) * float(stdtr(left, -found[most])))


def _score(x: Array, score: Array, rows: Array, group: NDArray[np.int64]) -> float:
    """Student's t of x beside the gradient's rows; 0 where the gradient explains it all."""
    left = x - rows @ np.linalg.lstsq(rows, x, rcond=None)[0]
    if np.linalg.norm(left) < 1e-3 * np.linalg.norm(x):
        return 0.0
    score = score - rows @ np.linalg.lstsq(rows, score, rcond=None)[0]
    parts = np.bincount(group, left * score)
    return float(parts.sum() / max(np.sqrt((parts**2).sum()), 1e-300))


def _slope(x: Array, y: Array) -> float:
    """The median of the slopes between each two points (Sen 1968, doi:10.1080/01621459.1968.10480934)."""
    i, j = np.triu_indices(len(x), 1)
    run = x[j] - x[i]
    apart = run != 0
    return float(np.median((y[j] - y[i])[apart] / run[apart]))


def design(fit: Fit) -> list[Warned]:
    """What the places of the points cannot tell: few sizes, one D/N; and FLOP that drift away from 6ND."""
    points, said = fit.points, list[Warned]()
    if {"n", "d"} <= {*fit.law.columns}:
        ratio = np.log(points["d"] / points["n"])
        # What is left of D/N at one compute: a ladder of one ratio cannot tell size from data.
        low, high = np.exp(np.quantile(ratio, [0.05, 0.95]))
        if high / low < SPREAD:
            said.append(Warned("narrow-ratio", (
                f"D/N lies between {low:.3g} and {high:.3g} alone: size and data grow together, so that "
                "their exponents are hardly told apart; add runs of the same size with 4 times the tokens"
            )))  # fmt: skip
    for name in fit.law.columns:
        rungs = distinct(name, points[name])
        if name in ("n", "d") and rungs < 5:
            said.append(Warned("few-values", (
                f"there {'is' if rungs == 1 else 'are'} only {rungs} value{'s' * (rungs != 1)} of {name}: "
                "nothing tests the shape of its term; "
                "add a smaller and a larger one"
            )))  # fmt: skip
    if {"n", "d", "c"} <= points.keys():
        counted = np.log(points["c"] / (FLOPS_PER_PARAMETER_AND_TOKEN * points["n"] * points["d"]))
        x = np.log(points["c"])
        if np.ptp(x) > 0.1 and np.abs(counted).max() > 1e-6:
            moved = _slope(x[:500], counted[:500]) * float(np.ptp(x))
            if abs(moved) > DRIFT:
                said.append(Warned("drift", (
                    f"C/6ND {'rises' if moved > 0 else 'falls'} by {abs(np.expm1(moved)):.0%} from the least "
                    "to the largest compute: embeddings or attention are counted in one of them only; an "
                    "optimum by 6ND then has another exponent than one by C; count both alike"
                )))  # fmt: skip
    return said
