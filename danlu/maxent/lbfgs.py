"""L-BFGS (Liu & Nocedal 1989) on the dual, down to the rounding of the gradient.

SciPy's line search compares values of the NLL, which cannot tell weights apart whose probabilities differ by
less than 1e-8. Here a step is taken by its slope (the approximate Wolfe conditions of Hager & Zhang 2005, eq.
4.1), which the convexity of the dual makes safe. It yields each point at which it wants to look: a pass.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from danlu.maxent.features import Array
from danlu.maxent.problem import Look, Problem
from danlu.maxent.scaling import Method

MEMORY = 20  # pairs of steps and changes of the gradient
STEEP, FLAT = 0.9, 0.8  # shares of the first slope: below −STEEP is too short, above FLAT too long
ROUNDING = 1e-14


def lbfgs(problem: Problem, start: Array) -> Method:
    """Ends where a step along the slope lowers the NLL no more."""
    free = problem.free
    found = yield start
    # In units in which the mean square of every feature is 1, rare and frequent ones bend the NLL alike.
    scale = np.sqrt(problem.features.expect_squares(problem.mass[:, None] * found.p)[free])
    scale[scale == 0] = 1.0

    def full(inner: Array) -> Array:
        weights = start.copy()
        weights[free] = inner / scale
        return weights

    def slope(found: Look) -> Array:
        return np.asarray((found.expected - problem.targets)[free] / scale)

    inner = start[free] * scale
    g = slope(found)
    steps: list[Array] = []
    changes: list[Array] = []
    while g.any():
        direction = -_newton(g, steps, changes)
        along = float(direction @ g)
        if not along < 0:
            return
        result = yield from _search(inner, direction, along, found.nll, full, slope)
        if result is None:
            if not steps:
                return
            steps, changes = [], []  # downhill once more, from scratch
            continue
        new, found = result
        step, change = new - inner, slope(found) - g
        inner, g = new, g + change
        if float(step @ change) > 0:
            steps, changes = [*steps, step][-MEMORY:], [*changes, change][-MEMORY:]


def _newton(g: Array, steps: list[Array], changes: list[Array]) -> Array:
    """The gradient times the inverse of the curvature that the last steps met (two loops)."""
    if not steps:
        return g / max(float(np.linalg.norm(g)), ROUNDING)
    g, shares = g.copy(), []
    for s, y in zip(reversed(steps), reversed(changes), strict=True):
        shares.append(float(s @ g) / float(s @ y))
        g -= shares[-1] * y
    g *= float(steps[-1] @ changes[-1]) / float(changes[-1] @ changes[-1])
    for s, y, share in zip(steps, changes, reversed(shares), strict=True):
        g += (share - float(y @ g) / float(s @ y)) * s
    return g


def _search(
    inner: Array, direction: Array, along: float, nll: float, full: object, slope: object
) -> Generator[Array, Look, tuple[Array, Look] | None]:
    """A point along ``direction`` with a smaller slope and no greater NLL, and what was found there."""
    assert callable(full) and callable(slope)
    low, high = 0.0, np.inf
    at_low, at_high, step = along, np.nan, 1.0
    for _ in range(40):
        point = inner + step * direction
        found = yield full(point)
        here = float(slope(found) @ direction)
        if not np.isfinite(found.nll) or here > FLAT * -along or found.nll > nll + ROUNDING * (1 + abs(nll)):
            high, at_high = step, here
        elif here < STEEP * along:
            low, at_low = step, here
        else:
            return point, found
        if np.isinf(high):
            step *= 4
        else:  # where a straight slope would be 0, but no nearer to an end than a tenth
            share = at_low / (at_low - at_high) if at_high > 0 else 0.5
            step = low + (high - low) * min(max(share, 0.1), 0.9)
    return None
