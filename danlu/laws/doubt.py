"""How far to trust a fit: resamples of its points, and their influence.

Intervals come from ``resample``. Its idea in three sentences. The residuals of each cluster of points are
taken from a fit that did not see this cluster, so that they are as large as errors. A resample keeps or turns
the sign of each cluster's residuals by the toss of a coin, lays them on the law's predictions, and is fitted.
The interval of a quantity is that of its resamples, wider where few clusters decide on it, as Student's t is.
``bench/coverage.py`` measures what the intervals cover.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array
from danlu.laws.errors import LawError, Warned
from danlu.laws.fit import Fit, refit, residuals
from danlu.laws.solve import Solution
from danlu.laws.table import Points

MOST = 10**8  # numbers of all resamples together
FOLDS = 20  # fits that leave out clusters, at most
FEW = 5  # clusters below which no interval is told
SURE = 10  # clusters below which it is said how few there are
LEAST = 39  # resamples from which on 95 % of further ones lie between the ends of some


class Interval(NamedTuple):
    """A value, its ends and its standard error; numbers or arrays of one shape."""

    value: Any
    low: Any
    high: Any
    error: Any = None

    def json(self) -> dict[str, Any]:
        """What an interval is in every JSON: ``value``, ``low`` and ``high``, and ``error`` where known."""
        said = self._asdict()
        return said if self.error is not None else {name: said[name] for name in ("value", "low", "high")}


def interval(value: Any, draws: Array, level: float = 0.95) -> Interval:
    """The percentile interval of draws, (draws, …), around a value (…).

    Of B draws the p-quantile is the p·(B + 1)-th: a further draw lies below it with probability p.
    """
    tails = [(1 - level) / 2, (1 + level) / 2]
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(draws, tails, axis=0, method="weibull")
        if not (np.isfinite(low).all() and np.isfinite(high).all()):  # there's nothing between 1 and ∞
            low, high = np.quantile(draws, tails, axis=0, method="nearest")
        error = np.std(draws, axis=0, ddof=1)
    if np.ndim(value) == 0:
        return Interval(float(value), float(low), float(high), float(error))
    return Interval(np.asarray(value), low, high, error)


class LeftOut(NamedTuple):
    """``theta``: (folds, parameters), of fits without some clusters each. ``clusters``: how many."""

    theta: Array
    clusters: int


@dataclass(frozen=True)
class Draws:
    """The parameters of resamples of a fit's points.

    ``theta``: (resamples, parameters), natural units. ``lost``: resamples left out, because the points drawn
    could not determine the law. ``without``: of ``resample``, what its leave-out fits found.
    """

    fit: Fit
    theta: Array
    lost: int
    without: LeftOut | None = None

    def of(self, function: Callable[[Array], Array], level: float = 0.95) -> Interval:
        """The interval of any function of the parameters: (…, parameters) to (…) or (…, values).

        With ``without`` as of few degrees of freedom (``freedom``); in logarithms where all is above zero.
        """
        value, draws = function(self.fit.vector), np.asarray(function(self.theta))
        found = interval(value, draws, level)
        if self.without is None:
            return found
        apart = np.asarray(function(self.without.theta))
        wider = widening(value, apart, self.without.clusters, level)
        low, high = stretched(np.asarray(value), wider, np.stack([found.low, found.high]))
        if np.ndim(value) == 0:
            return Interval(found.value, float(low), float(high), found.error)
        return Interval(found.value, low, high, found.error)

    def parameters(self, level: float = 0.95) -> dict[str, Interval]:
        """The interval of each parameter, by name."""
        found = self.of(lambda theta: theta, level)
        # What is stretched may pass a bound, at which the resamples themselves stop.
        law = self.fit.law
        low, high = (law.natural(bound) for bound in law.bounds)
        lowest = np.maximum(self.fit.points[law.target].min(), np.maximum(self.theta.max(0), self.fit.vector))
        high = np.where([parameter.floor for parameter in law.parameters], np.minimum(high, lowest), high)
        found = found._replace(low=np.maximum(found.low, low), high=np.minimum(found.high, high))
        columns = zip(*found, strict=True)
        return {
            name: Interval(*map(float, row)) for name, row in zip(self.fit.law.names, columns, strict=True)
        }

    def only(self, fit: Fit, own: NDArray[np.int64]) -> Draws:
        """Of some of the parameters, by their places: those of one ``fit`` of several fitted at once."""
        without = self.without and self.without._replace(theta=self.without.theta[:, own])
        return Draws(fit, self.theta[:, own], self.lost, without)

    def predict(self, points: Mapping[str, Array], level: float = 0.95) -> Interval:
        """The interval of what the law says of other points, (points,); the scatter of runs is not in it."""
        return self.of(lambda theta: self.fit.law.predict(theta, points), level)


def cautions(draws: Draws, intervals: Mapping[str, Interval]) -> list[Warned]:
    """What makes the intervals of ``resample`` less than they seem: few clusters or resamples, a bound in
    their way."""
    said: list[Warned] = []
    if (drawn := len(draws.theta)) < LEAST:
        share = (drawn - 1) / (drawn + 1)
        told = f"{drawn} resamples give intervals of {share:.1%} at most, not of 95 %: take {LEAST} or more"
        said.append(Warned("few-resamples", told))
    if draws.without is not None and draws.without.clusters < SURE:
        told = f"the intervals rest on {draws.without.clusters} clusters alone; more runs or sizes say more"
        said.append(Warned("few-clusters", told))
    for parameter in draws.fit.law.parameters:
        one = intervals.get(parameter.name)
        if one is None or not one.low < one.high:
            continue
        for end, bound in ((one.low, parameter.low), (one.high, parameter.high)):
            if end == bound and one.value != bound:
                told = f"the interval of {parameter.name} ends at its bound, {bound:g}"
                said.append(Warned("interval-at-bound", f"{told}: the points let it go that far"))
    return said


def freedom(value: Array, apart: Array, clusters: int) -> Array:
    """Of a quantity, how many degrees of freedom Student's t has, (…).

    ``value``: (…). ``apart``: (folds, …), found by fits that left out some of the ``clusters`` each. How far
    these lie from the value tells how much each fold decides: Σc² is the jackknife's variance, and
    3·(Σc²)²/Σc⁴ − 2 the number of folds, were all alike, and 1, if one decides alone (Satterthwaite's idea,
    1946, doi:10.2307/3002019, with c normal); at least 1 and at most the clusters less one.
    """
    c = np.nan_to_num(apart - value, nan=0.0, posinf=0.0, neginf=0.0)
    c = c / np.maximum(np.abs(c).max(0), 1e-300)
    even = 3 * np.sum(c**2, axis=0) ** 2 / np.maximum(np.sum(c**4, axis=0), 1e-300) - 2
    return np.clip(even, 1, clusters - 1)


def widening(value: Array, apart: Array, clusters: int, level: float = 0.95) -> Array:
    """By what to multiply an interval of the draws of ``resample``, which have clusters − 1 degrees of
    freedom in them, (…); arguments as of ``freedom``."""
    from scipy.special import stdtrit

    value, apart = np.asarray(value), np.asarray(apart)
    logs = (value > 0) & (apart > 0).all(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value, apart = np.where(logs, np.log(value), value), np.where(logs, np.log(apart), apart)
    tail = (1 + level) / 2
    return np.asarray(stdtrit(freedom(value, apart, clusters), tail) / stdtrit(clusters - 1, tail))


def stretched(value: Array, wider: Array, ends: Array) -> Array:
    """``ends``, (…, *value), moved away from the value by a factor; in logarithms where all is above zero."""
    logs = (value > 0) & (ends > 0).all(0)
    with np.errstate(all="ignore"):
        straight = value + wider * (ends - value)
        return np.where(logs, value * (ends / value) ** wider, np.where(wider > 1, straight, ends))


def clusters(points: Points, by: str | Array | None) -> NDArray[np.int64]:
    """The cluster of each point, (points,): by a column, by labels, or each point for itself."""
    if by is None:
        return np.arange(points.size)
    if isinstance(by, str) and by not in points:
        raise LawError(f"there is no column {by} to draw by; there are {', '.join(points)}")
    labels = points[by] if isinstance(by, str) else np.asarray(by)
    if labels.shape != (points.size,):
        raise LawError(f"there must be one label for each of {points.size} points, not {labels.shape}")
    return np.unique(labels, return_inverse=True)[1]


def resample(
    fit: Fit, resamples: int = 100, *, by: str | Array | None = None, starts: int = 1, seed: int = 0
) -> Draws:
    """Fits to the law's predictions with the signs of unseen residuals turned by chance, cluster by cluster.

    The wild cluster bootstrap with the signs ±1 (Cameron, Gelbach and Miller 2008, doi:10.1162/rest.90.3.414;
    for least absolute deviations Feng, He and Hu 2011, doi:10.1093/biomet/asr052), which holds where noise
    is unequal or runs along a cluster. A point's residual is that of a fit without its cluster, as in the
    jackknife (MacKinnon, Nielsen and Webb 2023, doi:10.1002/jae.2969), whose variance of g clusters has the
    factor (g − 1)/g; of more than ``FOLDS`` clusters several are left out at a time. The residuals are
    widened by t/z, Student's quantile of g − 1 degrees of freedom over the normal one, at 95 %; ``Draws.of``
    widens what few clusters decide.

    ``by``: a column, or a label for each point, whose clusters keep or turn their signs together (runs, sizes
    of models), as points of one run are not independent. ``starts``: of ``refit``.
    Raises LawError for fewer than ``FEW`` clusters or free parameters, or too many numbers to be kept.
    """
    from scipy.special import ndtri, stdtrit

    _check_size(fit.points, resamples)
    law, points = fit.law, fit.points
    group = clusters(points, by)
    groups, free = int(group.max()) + 1, int(fit.free.sum())
    _check_clusters(groups, max(FEW, free), free)
    generator = np.random.default_rng(seed)
    far, without = unseen(fit, group, generator)
    far = far * np.sqrt((groups - 1) / groups) * stdtrit(groups - 1, 0.975) / ndtri(0.975)
    signs = generator.choice([-1.0, 1.0], (resamples, groups))[:, group]
    predicted = fit.predict(points)
    if law.space == "log":  # ln predicted − ln measured; a factor of e³ is no noise of a loss
        targets = predicted * np.exp(np.clip(signs * far, -3, 3))
    else:
        targets = predicted + signs * far
    found = _kept(fit, refit(fit, targets=targets, starts=starts, seed=seed), resamples)
    return replace(found, without=LeftOut(without, groups))


def unseen(fit: Fit, group: NDArray[np.int64], generator: np.random.Generator) -> tuple[Array, Array]:
    """Residuals, (points,), as of a fit that did not see the point's cluster, and the parameters of these
    fits, (folds, parameters); ``group`` as of ``clusters``.

    Where each point is a cluster, least squares are halfway between: there residuals shrink by 1 − h, h the
    leverage, so that errors lie between (MacKinnon and White 1985, HC2 and HC3); of absolute deviations some
    residuals vanish, which tells nothing. Huber's loss is the one or the other by the share of points in its
    quadratic middle, from a half on.
    Where a fit fails, the one to all points stands in.
    """
    groups = int(group.max()) + 1
    folds = min(groups, FOLDS)
    fold = generator.permutation(np.arange(groups) % folds)[group]
    without = refit(fit, weights=(fold != np.arange(folds)[:, None]) * fit.weights, starts=1)
    good = np.isfinite(without.theta).all(-1) & np.isfinite(without.objective)
    theta = np.where(good[:, None], without.theta, fit.vector)
    far = residuals(fit.law, theta, fit.points)[fold, np.arange(fit.points.size)]
    far = np.where(np.isfinite(far), far, fit.residuals)
    if groups == len(group):
        seen = max(0.0, float(np.mean(np.abs(fit.residuals) <= fit.loss.delta)) - 0.5)
        far = (1 - seen) * far + seen * fit.residuals
    return far, theta[good]


def bootstrap(
    fit: Fit, resamples: int = 1000, *, by: str | Array | None = None, starts: int = 3, seed: int = 0
) -> Draws:
    """Fits to points drawn with replacement from the fit's own (Efron 1979), all solved together.

    As papers do; ``resample`` holds for few clusters as well, where this covers too little.

    ``by``: a column, or a label for each point, whose clusters are drawn whole (runs, sizes of models), as
    points of one run are not independent. ``starts``: of ``refit``.
    Raises LawError where there are fewer clusters than free parameters, or too many numbers to be kept.
    """
    free = int(fit.free.sum())
    counts = redrawn(fit.points, by, free, resamples, seed)
    found = refit(fit, weights=counts * fit.weights, starts=starts, seed=seed)
    return _kept(fit, found, resamples, (counts > 0).sum(-1) >= free)


def redrawn(points: Points, by: str | Array | None, free: int, resamples: int, seed: int) -> Array:
    """How often each point is drawn, (resamples, points): points, or clusters whole, with replacement. Raises
    LawError where there are fewer clusters than ``free`` parameters, or too many numbers to be kept."""
    _check_size(points, resamples)
    group = clusters(points, by)
    groups = int(group.max()) + 1
    _check_clusters(groups, max(2, free), free)
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    return drawn[:, group].astype(np.float64)


def _check_size(points: Points, resamples: int) -> None:
    if resamples * points.size > MOST:
        raise LawError(f"{resamples} resamples of {points.size} points are more than fit into memory")


def _check_clusters(groups: int, least: int, free: int) -> None:
    if groups < least:
        raise LawError(f"{groups} cluster{'s' * (groups != 1)} cannot tell how far {free} parameters scatter")


def _kept(fit: Fit, found: Solution, resamples: int, enough: NDArray[np.bool_] | bool = True) -> Draws:
    kept = enough & np.isfinite(found.objective) & np.isfinite(found.theta).all(-1)
    if kept.sum() < 2:
        raise LawError(f"{fit.law.name} could not be fitted to any two of {resamples} resamples")
    return Draws(fit, found.theta[kept], int(resamples - kept.sum()))


@dataclass(frozen=True)
class Jackknife:
    """Fits with one cluster left out each: ``theta`` (clusters, parameters)."""

    fit: Fit
    theta: Array

    def error(self, function: Callable[[Array], Array] = lambda theta: theta) -> Array:
        """The standard error √((g−1)/g·Σ(x − x̄)²) of a function of the parameters (Tukey 1958)."""
        values = np.asarray(function(self.theta))
        return np.sqrt((len(values) - 1) * np.var(values, axis=0))

    def bias(self, function: Callable[[Array], Array] = lambda theta: theta) -> Array:
        """(g−1)·(x̄ − x) of a function of the parameters (Quenouille 1956)."""
        values = np.asarray(function(self.theta))
        return (len(values) - 1) * (values.mean(0) - function(self.fit.vector))


def jackknife(fit: Fit, *, by: str | Array | None = None) -> Jackknife:
    """Fits to all points but one, or but one cluster; ``by`` as in ``bootstrap``."""
    group = clusters(fit.points, by)
    keep = group != np.arange(group.max() + 1)[:, None]
    return Jackknife(fit, refit(fit, weights=keep * fit.weights, starts=1).theta)


class Leverage(NamedTuple):
    """Per point, (points,): leverage, residual, and residual over s·√(1 − leverage), s from the median."""

    leverage: Array
    residuals: Array
    standardised: Array


def residual_rows(fit: Fit) -> Array:
    """The derivatives of the residuals to the free parameters, in the fit's coordinates, (free, points)."""
    law = fit.law
    rows = law.gradient(fit.vector, fit.points)
    if law.space == "log":
        rows = rows / law.predict(fit.vector, fit.points)
    rows = (rows * np.where(law.logs, fit.vector, 1.0)[:, None])[fit.free]
    return np.nan_to_num(rows, posinf=0.0, neginf=0.0)  # where parameters have run away, nothing is told


def basis(rows: Array) -> Array:
    """An orthonormal basis of what the rows span, (points, rank)."""
    size = np.linalg.norm(rows, axis=-1, keepdims=True)
    Q, R = np.linalg.qr((rows / np.where(size > 0, size, 1.0)).T)
    return Q[:, np.abs(np.diag(R)) > 1e-12]


def leverage(fit: Fit) -> Leverage:
    """The diagonal of the hat matrix of the law made linear at the fit; it sums to the free parameters."""
    root = np.sqrt(fit.weights)
    share = np.sum(basis(residual_rows(fit) * root) ** 2, axis=-1)
    scale = 1.4826 * np.median(np.abs(fit.residuals))
    with np.errstate(divide="ignore", invalid="ignore"):
        standardised = fit.residuals * root / (scale * np.sqrt(np.maximum(1 - share, 0)))
    return Leverage(share, fit.residuals, standardised)
