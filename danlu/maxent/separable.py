"""Whether data are separable: then the likelihood has no highest point (Albert & Anderson 1984).

They are, if some direction d never scores an observed class below another, d·f(x, y) ≥ d·f(x, y′), and
somewhere above it. Often a fit's own weights are such a direction, which each pass sees (``Look.recession``).
Where only some rows are parted, a linear programme finds one (Konis 2007).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from danlu.maxent.features import Array, Flags
from danlu.maxent.problem import Look, Problem

LARGEST = 200_000  # values in the linear programme: some seconds
SLIGHT = 1e-6  # a probability that an optimum seldom gives to a pair
TOLERANCE = 1e-7  # of the linear programme


def seems_open(problem: Problem, found: Look, unfinished: bool) -> bool:
    """Whether a fit looks as if it could go on for ever: then it is worth solving a linear programme."""
    if problem.joint is None:
        return False
    never = problem.support & (problem.joint == 0) & (problem.mass[:, None] > 0)
    return bool(never.any()) and (unfinished or bool(found.p[never].min() < SLIGHT))


def direction(problem: Problem) -> Array | None:
    """Weights (names,), each times its feature's size within ±1, along which the likelihood never falls and
    somewhere rises; None where there is none, or where the data are too large for the linear programme."""
    from scipy.optimize import linprog

    margins, equal = _margins(problem)
    if margins.shape[0] == 0 or margins.nnz + equal.nnz > LARGEST:
        return None
    answer = linprog(
        -np.asarray(margins.mean(axis=0)).ravel(),
        A_ub=-margins,
        b_ub=np.zeros(margins.shape[0]),
        A_eq=equal if equal.shape[0] else None,
        b_eq=np.zeros(equal.shape[0]) if equal.shape[0] else None,
        bounds=(-1, 1),
    )
    if answer.x is None or (margins @ answer.x).max() <= 100 * TOLERANCE:
        return None
    along = np.zeros(len(problem.targets))
    along[problem.free] = answer.x
    return np.asarray(along / problem.scale)


def _margins(problem: Problem) -> tuple[Any, Any]:
    """f(x, y) − f(x, y′) over the fitted features, each divided by its size: of every row's first observed
    class y and each class y′ that it was not seen with, and that it was."""
    assert problem.joint is not None
    seen: Flags = np.greater(problem.joint, 0)
    first = seen.argmax(axis=1)
    rows, classes = seen.shape
    some: Flags = np.any(seen, axis=1)
    f = sparse.csr_array(problem.features.matrix())[:, np.flatnonzero(problem.free)]
    f = sparse.csr_array(f @ sparse.diags_array(1 / problem.scale[problem.free]))

    def against(pairs: Flags) -> Any:
        row, y = np.nonzero(pairs)
        return sparse.csr_array(f[row * classes + first[row]] - f[row * classes + y])

    others = seen & some[:, None]
    others[np.arange(rows), first] = False
    return against(problem.support & ~seen & some[:, None]), against(others)
