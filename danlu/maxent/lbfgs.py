"""L-BFGS (Liu & Nocedal 1989) on the dual, down to the rounding of the gradient.

SciPy's line search compares values of the NLL, which cannot tell weights apart whose probabilities differ by
less than 1e-8. Here a step is taken by its slope alone (the approximate Wolfe conditions of Hager & Zhang
2005, eq. 4.1), which the convexity of the dual makes safe. Each point that it asks about is a pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from danlu.maxent.features import Array
from danlu.maxent.problem import Problem
from danlu.maxent.scaling import Method

MEMORY = 20  # pairs of steps and changes of the gradient
TRIES = 40  # points along one line
STEEP, FLAT = 0.9, 0.8  # shares of the first slope: below −STEEP is too short, above FLAT too long
ROUNDING = 1e-14


@dataclass
class Search:
    """Where a search stands: all of it in arrays, so that it can be kept and go on.

    ``base``, ``gradient``, (n,): the last point that was taken, and the gradient there. ``direction``, (n,):
    of the line. ``steps``, ``changes``, (MEMORY, n): between points that were taken, and of the gradient, the
    newest last. ``line``, (7,): pairs that are known, points tried along the line (0: none was asked about),
    the step that is tried, the longest that is too short, the shortest that is too long, and the slopes at
    these two.
    """

    base: Array
    gradient: Array
    direction: Array
    steps: Array
    changes: Array
    line: Array

    @classmethod
    def of(cls, size: int) -> Search:
        """One that has not begun, for points of ``size`` numbers."""
        base, gradient, direction = np.zeros((3, size))
        steps, changes = np.zeros((2, MEMORY, size))
        return cls(base, gradient, direction, steps, changes, np.zeros(7))

    def tell(self, point: Array, gradient: Array, first: float = 1.0) -> Array | None:
        """The next point, (n,), to ask about, after that the ``gradient`` at ``point`` is known; ``first``:
        the step that a line begins with. None where no step goes down any more: ``base`` is the best."""
        tries, step, at = int(self.line[1]), float(self.line[2]), float(gradient @ self.direction)
        if tries == 0:
            self.base, self.gradient = point.copy(), gradient.copy()
            return self._begin(first)
        along = float(self.gradient @ self.direction)
        if not at <= FLAT * -along:
            self.line[[4, 6]] = step, at
        elif at < STEEP * along:
            self.line[[3, 5]] = step, at
        else:
            self._take(point, gradient)
            return self._begin(first)
        if tries >= TRIES:
            known, self.line[:2] = self.line[0], 0
            return self._begin(first) if known else None  # downhill once more, from scratch
        self.line[1:3] = tries + 1, self._between()
        return np.asarray(self.base + self.line[2] * self.direction)

    def _begin(self, first: float) -> Array | None:
        """The first point along a new line."""
        known = int(self.line[0])
        old = slice(MEMORY - known, MEMORY)
        self.direction = -_newton(self.gradient, self.steps[old], self.changes[old])
        along = float(self.direction @ self.gradient)
        if not along < 0:
            self.line[1] = 0
            return None
        self.line[1:] = 1, first, 0.0, np.inf, along, np.nan
        return np.asarray(self.base + first * self.direction)

    def _take(self, point: Array, gradient: Array) -> None:
        step, change = point - self.base, gradient - self.gradient
        self.base, self.gradient = point.copy(), gradient.copy()
        if float(step @ change) > 0:
            self.steps = np.roll(self.steps, -1, axis=0)
            self.changes = np.roll(self.changes, -1, axis=0)
            self.steps[-1], self.changes[-1] = step, change
            self.line[0] = min(self.line[0] + 1, MEMORY)

    def _between(self) -> float:
        """The next step: where a straight slope would be 0, but no nearer to an end than a tenth."""
        _, _, step, low, high, at_low, at_high = self.line.tolist()
        if np.isinf(high):
            return float(step * 4)
        share = at_low / (at_low - at_high) if at_high > 0 else 0.5
        return float(low + (high - low) * min(max(share, 0.1), 0.9))


def lbfgs(problem: Problem, start: Array) -> Method:
    """Ends where a step along the slope lowers the NLL no more."""
    free = problem.free
    found = yield start
    scale = scale_of(problem, found.p)
    search, inner = Search.of(int(free.sum())), start[free] * scale
    while True:
        gradient = (found.expected - problem.targets)[free] / scale
        after = search.tell(inner, gradient)
        if after is None:
            return
        inner, weights = after, start.copy()
        weights[free] = inner / scale
        found = yield weights


def scale_of(problem: Problem, p: Array) -> Array:
    """What the weights of the free features are multiplied by, so that rare and frequent ones bend the NLL
    alike: the root mean square of each feature under p (rows, classes); 1 for one that is 0."""
    scale = np.sqrt(problem.features.expect_squares(problem.mass[:, None] * p)[problem.free])
    scale[scale == 0] = 1.0
    return np.asarray(scale)


def _newton(g: Array, steps: Array, changes: Array) -> Array:
    """The gradient times the inverse of the curvature that the last steps met (two loops)."""
    if not len(steps):
        return np.asarray(g / max(float(np.linalg.norm(g)), ROUNDING))
    g, shares = g.copy(), []
    for s, y in zip(steps[::-1], changes[::-1], strict=True):
        shares.append(float(s @ g) / float(s @ y))
        g -= shares[-1] * y
    g *= float(steps[-1] @ changes[-1]) / float(changes[-1] @ changes[-1])
    for s, y, share in zip(steps, changes, reversed(shares), strict=True):
        g += (share - float(y @ g) / float(s @ y)) * s
    return g
