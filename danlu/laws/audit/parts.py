"""Rows of two sources without a column that says so: two laws side by side fit them far better than one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array
from danlu.laws.fit import Fit, refit

ROUNDS = 8  # of assigning rows and fitting
FEWEST, MOST = 24, 2000  # points that are looked at
CUTS = (0.2, 0.35, 0.5, 0.65, 0.8)  # of the residuals, where two parts may begin
SMALLER = 0.15  # share of the smaller part
CLOSER = 0.25  # of the scatter about one law, what is left about two, at most; of few points less:
PER_POINT = 1 / 120  # of 1,050 sound sets of 24 to 40 points, normal or not, none comes near


def two_parts(fit: Fit) -> NDArray[np.bool_] | None:
    """(points,): which rows are of the upper law; None where one law is as good.

    Two laws that differ in a constant (of the loss, or a factor of it) and share all else: rows are given to
    the nearer, then the laws are fitted anew (clusterwise regression, Späth 1979, Computing 22).
    Begun from cuts through the residuals, and from whether a row is above or below its nearest neighbours.
    Scatter is the mean size of residuals; of one source with normal or heavy tails it falls to about half
    of what it was, of two sources that are far apart to their own noise.
    """
    n, law = fit.points.size, fit.law
    if law.target != "loss" or law.space != "log" or not FEWEST <= n <= MOST:
        return None
    before = float(np.mean(np.abs(fit.residuals)))
    if before < 1e-8:
        return None
    cuts = np.quantile(-fit.residuals, CUTS)
    begun = [*(-fit.residuals > cuts[:, None]), *_beside_neighbours(fit)]
    factor = np.arange(2 * len(begun)) < len(begun)
    with np.errstate(all="ignore"):  # a start may run away; its scatter then is no number
        upper, shift, left = _apart(fit, np.stack(begun * 2), factor)
    share = np.minimum(upper.mean(-1), 1 - upper.mean(-1))
    left = np.where(np.isfinite(left) & (share >= SMALLER), left, np.inf)
    best = int(np.argmin(left))
    if left[best] > min(CLOSER, PER_POINT * n) * before:
        return None
    return upper[best] if shift[best] > 0 else ~upper[best]


def _apart(
    fit: Fit, upper: NDArray[np.bool_], factor: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], Array, Array]:
    """Rows of the one law, (problems, points), how far it lies from the other, and the mean size of what is
    left, (problems,), from where they begin; ``factor``: it is a factor of the loss, else a constant."""
    law, points, times = fit.law, fit.points, factor[:, None]
    measured = points[law.target]
    theta = np.tile(fit.vector, (len(upper), 1))
    for _ in range(ROUNDS):
        predicted = law.predict(theta, points)
        gap = np.where(times, np.log(measured / predicted), measured - predicted)
        shift = np.array([
            np.median(one[up]) - np.median(one[~up]) if 0 < up.sum() < len(up) else 0.0
            for one, up in zip(gap, upper, strict=True)
        ])  # fmt: skip
        moved = shift[:, None] * upper
        lowered = np.where(times, measured * np.exp(-np.clip(moved, -3, 3)), measured - moved)
        theta = refit(fit, targets=np.maximum(lowered, 1e-3 * measured), starts=1).theta
        predicted = law.predict(theta, points)
        other = np.where(times, predicted * np.exp(shift[:, None]), predicted + shift[:, None])
        near = np.abs(np.log(measured / predicted))
        far = np.abs(np.log(measured / np.maximum(other, 1e-3 * measured)))
        upper = far < near
    return upper, shift, np.mean(np.minimum(near, far), axis=-1)


def _beside_neighbours(fit: Fit) -> list[NDArray[np.bool_]]:
    """Rows above the median of their nearest few by the law's columns, for two numbers of neighbours."""
    columns = [np.log(fit.points[name]) for name in fit.law.columns if (fit.points[name] > 0).all()]
    x = np.stack([column / max(float(np.std(column)), 1e-12) for column in columns])
    away = ((x[:, :, None] - x[:, None, :]) ** 2).sum(0)
    r = -fit.residuals
    near = np.argsort(away, axis=-1, kind="stable")
    return [r > r[near[:, :count]].mean(-1) for count in (2, 6)]
