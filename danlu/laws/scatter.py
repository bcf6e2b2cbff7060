"""How much runs scatter about a law, within a cluster and between clusters; where a new run will lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from danlu.laws.base import Array, Law
from danlu.laws.doubt import LeftOut, basis, clusters, interval, residual_rows, widening
from danlu.laws.fit import Fit
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN

NOISES = 40  # quantiles that stand for the noise of a new run
UNEQUAL = 0.01  # the level at which the scatter is said to follow columns
FEWEST = 10  # degrees of freedom that tell it


class Trend(NamedTuple):
    """How the scatter follows a ``column`` (c: 6·N·D): it is (value/``at``)^``slope`` times its mean;
    ``most``: the largest of these factors among the points."""

    column: str
    slope: float
    at: float
    most: float

    def times(self, places: Mapping[str, Array]) -> Array:
        """By what the mean scatter is multiplied at ``places``, (places,): as among the points, not beyond,
        and by one at least, for where noise is small the error of the law itself is left."""
        return np.clip((_along(places, self.column) / self.at) ** self.slope, 1.0, self.most)


class Scatter(NamedTuple):
    """Standard deviations about the law, in the unit of its residuals (of ln loss, as a rule); where they
    follow the size, in the mean over the points.

    ``within``: of points of one cluster about their own level; NaN where there are too few points to tell,
    and of all points about the law where ``between`` is NaN. ``between``: of the levels of clusters about the
    law; 0 where each point is a cluster of its own, NaN where there are too few clusters to tell.
    ``clusters``: how many there are. ``cluster``: the column that they come from, where one is known.
    ``trend``: how they follow the size; None where that cannot be told from chance.
    """

    within: float
    between: float
    clusters: int
    cluster: str | None = None
    trend: Trend | None = None

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return self._asdict() | {"trend": None if self.trend is None else self.trend._asdict()}

    @property
    def total(self) -> float:
        """Of one point of a new cluster; what of it is known, NaN where nothing is."""
        return math.hypot(self.within, 0.0 if math.isnan(self.between) else self.between)


def _along(places: Mapping[str, Array], column: str) -> Array:
    """A column, or compute where there are size and data, (places,)."""
    if column == "c" and {"n", "d"} <= places.keys():
        return np.asarray(FLOPS_PER_PARAMETER_AND_TOKEN * places["n"] * places["d"])
    return np.asarray(places[column])


def scatter(fit: Fit, by: str | Array | None = None, cluster: str | None = None) -> Scatter:
    """Both standard deviations, from the fit's residuals.

    ``by``: as in ``danlu.laws.doubt.resample``. ``cluster``: the column that its labels come from.

    Residuals are smaller than errors, as the fit follows the points. With the law made linear at the fit,
    r = M·e, and both sums of squares, r′r and that of the clusters' means, have expectations that are linear
    in both variances; these are set equal to what is found (Henderson 1953, doi:10.2307/3001853, method 3).
    Exact for least squares of a linear law with equal weights, near it for others.
    """
    found = _levels(fit, by)
    return found._replace(cluster=cluster, trend=_trend(fit, by))


def _levels(fit: Fit, by: str | Array | None) -> Scatter:
    used = fit.weights > 0
    group = np.unique(clusters(fit.points, by)[used], return_inverse=True)[1]
    r, count = _tamed(fit.residuals[used]), np.bincount(group).astype(float)
    n, g = len(r), len(count)
    Q = basis(residual_rows(fit)[:, used])
    squares, left = float(r @ r), n - Q.shape[1]
    if g == n:
        return Scatter(math.sqrt(squares / left) if left > 0 else math.nan, 0.0, g)
    inside = np.zeros((g, Q.shape[1]))
    np.add.at(inside, group, Q)  # Z′Q
    A = np.diag(count) - inside @ inside.T  # Z′MZ
    means = float(np.sum(np.bincount(group, r) ** 2 / count))
    equations = np.array([
        [left, np.trace(A)],
        [g - float(np.sum(inside**2 / count[:, None])), float(np.sum(A**2 / count))],
    ])  # fmt: skip
    if left <= 0:
        return Scatter(math.nan, math.nan, g)
    scale = np.abs(equations).max(0)
    if equations[1].min() <= 1e-9 or np.linalg.cond(equations / scale) > 1e9:
        return Scatter(math.sqrt(squares / left), math.nan, g)
    within, between = np.linalg.solve(equations, [squares, means])
    if between < 0:
        within, between = squares / left, 0.0
    if within < 0:
        within, between = 0.0, means / equations[1, 1]
    return Scatter(math.sqrt(within), math.sqrt(between), g)


def powers(log_size: Array, logs: Array) -> tuple[Array, float] | None:
    """How residuals follow columns as a product of powers: the slopes, (columns,), of the logarithms of their
    sizes, (rows,), over ``logs``, (columns, rows), by least squares, and F; None where that cannot be told
    from chance (Harvey 1976, doi:10.2307/1913974)."""
    from scipy.special import fdtrc

    X = np.stack([np.ones(len(log_size)), *(one - one.mean() for one in logs)], axis=-1)
    slopes, rest = np.linalg.lstsq(X, log_size, rcond=None)[:2]
    free, columns = len(X) - X.shape[1], X.shape[1] - 1
    if not len(rest) or free < FEWEST or not columns:
        return None
    explained = np.sum((log_size - log_size.mean()) ** 2) - rest[0]
    F = float(explained / columns / (rest[0] / free)) if rest[0] > 0 else math.inf
    return None if fdtrc(columns, free, F) > UNEQUAL else (slopes[1:], F)


def _trend(fit: Fit, by: str | Array | None) -> Trend | None:
    """By ``powers`` of the size, of clusters in the mean; the slope is made smaller by the share of its
    square that chance has (1/F)."""
    columns = fit.law.columns
    column = "c" if {"n", "d"} <= {*columns} else columns[0]
    used = fit.weights > 0
    x = _along(fit.points, column)[used]
    if not (x > 0).all():
        return None
    leverage = np.sum(basis(residual_rows(fit)[:, used]) ** 2, axis=-1)
    size = np.abs(fit.residuals[used]) / np.sqrt(np.maximum(1 - leverage, 0.1))
    group = np.unique(clusters(fit.points, by)[used], return_inverse=True)[1]
    count = np.bincount(group)
    if not np.median(size) > 0:
        return None
    log_size, log_x = np.log(size + 0.1 * np.median(size)), np.log(x)
    found = powers(np.bincount(group, log_size) / count, (np.bincount(group, log_x) / count)[None])
    if found is None:
        return None
    slope = float(found[0][0]) * (1 - 1 / found[1])
    middle = float(log_x.mean())
    times = np.exp(slope * (log_x - middle))
    mean = math.sqrt(float(np.mean(times**2)))
    at = math.exp(middle + math.log(mean) / slope)
    return Trend(column, slope, at, float(times.max()) / mean)


class Ends(NamedTuple):
    """95 % intervals, (places,) each: of the law's own value, and of what a new run will measure."""

    mean_low: Array
    mean_high: Array
    run_low: Array
    run_high: Array


def ends(
    law: Law,
    theta: Array,
    draws: Array,
    without: LeftOut | None,
    spread: Scatter,
    places: Mapping[str, Array],
    level: float = 0.95,
) -> Ends:
    """Both intervals at ``places``, columns of (places,).

    ``theta``: (parameters,). ``draws``, ``without``: of ``danlu.laws.doubt.resample``. A new run is a draw
    and the ``spread`` between and within clusters, as Student's t of so many degrees of freedom as there are
    clusters beyond the parameters, or half of the clusters, where that is more. Where the spread is not
    known, a new run's ends are NaN.
    """
    from scipy.special import stdtrit

    value, found = law.predict(theta, places), law.predict(draws, places)
    wider: Array | float = 1.0
    if without is not None:
        wider = widening(value, law.predict(without.theta, places), without.clusters, level)
    if law.space == "log":
        with np.errstate(divide="ignore", invalid="ignore"):
            value, found = np.log(value), np.log(found)
    found = value + wider * (found - value)
    freedom = max(1, spread.clusters - draws.shape[-1], spread.clusters // 2)
    noise = spread.total * stdtrit(freedom, (np.arange(NOISES) + 0.5) / NOISES)[:, None]
    if spread.trend is not None:
        noise = noise * spread.trend.times(places)
    new = (found[:, None] + noise).reshape(-1, found.shape[-1])
    mean, run = interval(value, found, level), interval(value, new, level)
    # Quantiles of more numbers lie further in; but what a run measures is never surer than the law.
    both = np.stack([
        mean.low, mean.high, np.minimum(mean.low, run.low), np.maximum(mean.high, run.high)
    ])  # fmt: skip
    with np.errstate(over="ignore"):
        return Ends(*(np.exp(both) if law.space == "log" else both))


def _tamed(r: Array) -> Array:
    """Residuals cut at twice what 95 % of them stay within (3.9 standard deviations, where they are normal),
    lest a few outliers speak for all; a robust loss heeds them as little."""
    limit = 2 * np.quantile(np.abs(r), 0.95)
    return np.clip(r, -limit, limit)
