"""The last part of a fit by least absolute deviations: from corner to corner.

The lowest sum of |r| lies as a rule where as many residuals vanish as parameters are free, a corner, which no
smooth descent reaches exactly. Given the parameters near it, the corner's residuals are made to vanish by
Newton's method. Their multipliers tell whether it is the lowest (all within the points' weights); else the
worst one is let go, and the residual that ends the way down takes its place: Barrodale and Roberts 1973
(doi:10.1137/0710069), on the law made linear at each corner.

A corner is written as the points whose residuals vanish, (problems, parameters); where fewer parameters move,
the places that are left over hold NONE.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array

Flags = NDArray[np.bool_]
PIVOTS, NEWTON = 100, 6
WITHIN = 1e-7  # by which share a multiplier may exceed its weight
NONE = -1
EXACT = 1e-12  # residuals that are nothing but rounding


class Problems(Protocol):
    """What is needed of a batch of problems; see ``danlu.laws.solve``."""

    weights: Array
    free: Flags
    low: Array
    high: Array

    def only(self, which: Flags) -> Problems: ...
    def residuals(self, u: Array, rows: bool = False) -> tuple[Array, Array]: ...


def settle(problems: Problems, u: Array) -> tuple[Array, Array, Flags]:
    """The corner at which each problem is lowest, from parameters near it.

    u: (problems, parameters) in the fit's coordinates. Returns u, the gradient of Σ weight·|r| that the
    vanishing residuals cannot balance, and whether none is left. A problem for which no corner is lower than
    where it began stays there.
    """
    u = u.copy()
    gradient, rest = np.full(len(u), np.inf), np.zeros(len(u), bool)
    begun, corner = u.copy(), _nearest(problems, u)
    trial, value = u.copy(), np.full(len(u), np.inf)
    at, some = np.arange(len(u)), problems
    for _ in range(PIVOTS):
        new = _into(some, trial[at], corner[at])
        new_value = _sum(some, new)
        good = (new_value <= value[at] * (1 + 1e-12)) & np.isfinite(new_value)
        at, some, new = at[good], some.only(good), new[good]
        if not len(at):
            break
        u[at], value[at] = new, new_value[good]
        multiplier, left, inverse, r, J = _balance(some, new, corner[at])
        gradient[at] = np.abs(left).max(-1, initial=0)
        limit = _at(some.weights, corner[at])
        excess = np.abs(multiplier) / np.maximum(limit, 1e-300) - 1
        rest[at] = excess.max(-1) <= WITHIN
        going = ~rest[at]
        at, some = at[going], some.only(going)
        if not len(at):
            break
        corner[at], trial[at] = _pivot(
            some, u[at], corner[at], multiplier[going], excess[going], inverse[going], r[going], J[going]
        )
    none = EXACT * problems.weights.sum(-1)
    first = _sum(problems, begun)
    worse = first < value * (1 - 1e-12) - none
    # Where the points meet the law exactly the signs of the residuals, and so the multipliers, mean nothing.
    exact = np.minimum(first, value) <= none
    gradient = np.where(exact, 0.0, gradient)
    return np.where(worse[:, None], begun, u), gradient, exact | (rest & ~worse)


def _at(values: Array, corner: NDArray[np.int64]) -> Array:
    """The corner's own of (problems, …, points), and 0 where it holds NONE."""
    between = (1,) * (values.ndim - corner.ndim)
    index = corner.reshape(len(corner), *between, -1)
    return np.where(index == NONE, 0.0, np.take_along_axis(values, np.maximum(index, 0), -1))


def _without(values: Array, corner: NDArray[np.int64]) -> Array:
    """(problems, points) with 0 at the corner's points."""
    values = values.copy()
    problem, place = np.nonzero(corner != NONE)
    values[problem, corner[problem, place]] = 0.0
    return values


def _sum(problems: Problems, u: Array) -> Array:
    value = np.sum(problems.weights * np.abs(problems.residuals(u)[0]), axis=-1)
    return np.where(np.isnan(value), np.inf, value)


def _rows(problems: Problems, u: Array) -> tuple[Array, Array]:
    """Residuals and Jacobian; what cannot move, or stands at a bound, has no derivative."""
    r, J = problems.residuals(u, rows=True)
    moving = problems.free & (u > problems.low) & (u < problems.high)
    return r, np.where(moving[..., None], J, 0.0)


def _nearest(problems: Problems, u: Array) -> NDArray[np.int64]:
    """For each problem as many points as parameters move: of small residuals, independent of one another."""
    r, J = _rows(problems, u)
    size = np.sqrt(np.maximum((J**2).sum(-1, keepdims=True), 1e-300))
    near = np.abs(r) + 1e-3 * np.abs(r).mean(-1, keepdims=True) + EXACT
    left = np.where(problems.weights > 0, 1.0 / near, 0.0)[..., None, :] * J / size
    chosen, moving = np.full(u.shape, NONE), np.any(J != 0, axis=-1).sum(-1)
    for j in range(u.shape[-1]):
        norm = (left**2).sum(-2)
        np.put_along_axis(norm, chosen[:, :j], -1.0, axis=-1)
        chosen[:, j] = np.where(j < moving, norm.argmax(-1), NONE)
        one = _at(left, chosen[:, j : j + 1])
        one /= np.sqrt(np.maximum((one**2).sum(-2, keepdims=True), 1e-300))
        left = left - one * np.matmul(one.mT, left)
    return chosen


def _inverse(J: Array, corner: NDArray[np.int64]) -> Array:
    """What moves one residual of the corner by 1 and no other: (problems, of the corner, parameters)."""
    active = _at(J, corner)
    size = np.sqrt((active**2).sum(-1, keepdims=True))
    size = np.where(size > 1e-150, size, np.inf)  # of what does not move, lest rounding be divided by nothing
    with np.errstate(invalid="ignore"):
        return np.linalg.pinv(np.nan_to_num(active / size), rcond=1e-13) / size.mT


def _into(problems: Problems, u: Array, corner: NDArray[np.int64]) -> Array:
    """Newton's method for the corner's residuals."""
    for _ in range(NEWTON):
        r, J = _rows(problems, u)
        active = np.nan_to_num(_at(r, corner))
        step = np.matmul(_inverse(J, corner).mT, active[..., None])[..., 0]
        u = np.clip(u - step, problems.low, problems.high)
    return u


def _balance(
    problems: Problems, u: Array, corner: NDArray[np.int64]
) -> tuple[Array, Array, Array, Array, Array]:
    """The corner's multipliers, the gradient that remains with them kept within the weights, and what they
    came from: the inverse, the residuals and the Jacobian."""
    r, J = _rows(problems, u)
    r = _without(r, corner)
    g = np.matmul(J, (problems.weights * np.sign(r))[..., None])[..., 0]
    inverse = _inverse(J, corner)
    multiplier = -np.matmul(inverse, g[..., None])[..., 0]
    limit = _at(problems.weights, corner)
    kept = np.clip(multiplier, -limit, limit)
    left = g + np.matmul(_at(J, corner), kept[..., None])[..., 0]
    return multiplier, left, inverse, r, J


def _pivot(
    problems: Problems,
    u: Array,
    corner: NDArray[np.int64],
    multiplier: Array,
    excess: Array,
    inverse: Array,
    r: Array,
    J: Array,
) -> tuple[NDArray[np.int64], Array]:
    """Let the worst residual go, and stop where the sum would rise again."""
    count = np.arange(len(u))
    worst = excess.argmax(-1)
    way = inverse[count, worst] * np.sign(multiplier[count, worst])[:, None]
    slope = problems.weights[count, corner[count, worst]] - np.abs(multiplier[count, worst])
    rate = _without(np.matmul(way[:, None, :], J)[:, 0], corner)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = -r / rate
    ahead = (distance > 0) & np.isfinite(distance) & (problems.weights > 0)
    distance = np.where(ahead, distance, np.inf)
    order = distance.argsort(-1)
    rises = np.take_along_axis(np.where(ahead, 2 * problems.weights * np.abs(rate), 0.0), order, -1)
    stop = np.argmax(slope[:, None] + np.cumsum(rises, -1) >= 0, axis=-1)
    entering = order[count, stop]
    corner = corner.copy()
    corner[count, worst] = entering
    length = distance[count, entering]
    return corner, u + way * np.where(np.isfinite(length), length, 0.0)[:, None]
