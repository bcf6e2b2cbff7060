"""Iterative scaling: GIS (Darroch & Ratcliff 1972) and IIS (Della Pietra, Della Pietra & Lafferty 1997).

Both move every weight at once to where its own bound of the likelihood is highest:
Σ_xy p̃(x) p(y|x) f_i e^{δ_i u(x, y)} = Ẽf_i with any u ≥ f# = Σf. IIS has u = f#, GIS u = C, the largest f#.
The bound holds for f# ≤ C with no slack feature C − f# (Curran & Clark 2003), so none is added; what
remains of the probability C − f# belongs to the exponent 0. Each pass raises the likelihood.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from danlu.maxent.errors import MaxentError
from danlu.maxent.features import Array
from danlu.maxent.problem import Look, Problem

LEVELS = 1024  # of f#, at most; more are rounded up, which keeps the bound
TINY = 1e-300  # for a pair without features, which moves nothing
CELLS = 1 << 22  # levels × features that are held at once

Method = Generator[Array, Look, None]


@dataclass(frozen=True, eq=False)
class Levels:
    """The values of f# that are told apart, (levels,), and which one each pair has, (rows, classes)."""

    values: Array
    of: NDArray[np.intp]


def gis(problem: Problem, start: Array) -> Method:
    """Generalised iterative scaling: δ_i = ln(Ẽf_i / E_p f_i) / C."""
    return _scale(problem, start, levels_of(problem, 1))


def iis(problem: Problem, start: Array) -> Method:
    """Improved iterative scaling: δ_i solves its equation, by Newton's method. Equal to GIS where f# ≡ C."""
    return _scale(problem, start, levels_of(problem))


def _scale(problem: Problem, start: Array, levels: Levels) -> Method:
    weights = start.copy()
    while True:
        found = yield weights
        weights = weights + change(problem, levels, found)


def change(problem: Problem, levels: Levels, found: Look) -> Array:
    """What is added to the weights, (names,), after a look at them; 0 for features that are not fitted."""
    free = problem.free
    wanted, delta = problem.targets[free], np.zeros(len(free))
    if len(levels.values) == 1:
        with np.errstate(divide="ignore"):
            delta[free] = np.log(wanted / found.expected[free]) / levels.values[0]
    else:
        q = problem.mass[:, None] * found.p
        apart = problem.features.by_level(q, levels.of, len(levels.values))[:, free]
        delta[free] = _roots(apart, levels.values, wanted)
    return delta


def levels_of(problem: Problem, most: int | None = None) -> Levels:
    """The values of f#, at most ``most`` (left out: so many that their expectations fit into memory); what
    is between two goes up. Forbidden pairs have no probability, and any level will do. Raises MaxentError
    where a feature is below 0."""
    low, _ = problem.features.bounds()
    if (low < 0).any():
        name = problem.features.names[int(np.argmin(low))]
        raise MaxentError(
            f"the feature {name!r} is {low.min():g} somewhere, and iterative scaling needs features of 0 or "
            "more; shift its column up, or fit by lbfgs"
        )
    most = most or max(1, min(LEVELS, CELLS // len(problem.targets)))
    known = np.where(np.isnan(problem.sums), np.nanmax(problem.sums), problem.sums)
    values = np.unique(np.round(known, 12))
    if len(values) > most:
        values = np.linspace(values[0], values[-1], most + 1)[1:]
    level = np.minimum(np.searchsorted(values, known - 1e-11), len(values) - 1)
    return Levels(np.maximum(values, TINY), level)


def _roots(apart: Array, values: Array, wanted: Array) -> Array:
    """δ (features,) with Σ_v apart[v] e^{δ v} = wanted: the logarithm of the sum is convex and rises."""
    delta = np.zeros_like(wanted)
    for _ in range(50):
        terms = apart * np.exp(np.minimum(delta * values[:, None], 700.0))
        total = terms.sum(axis=0)
        step = np.log(total / wanted) * total / (values @ terms)
        delta -= step
        if (np.abs(step) <= 1e-14 + 1e-13 * np.abs(delta)).all():
            break
    return delta
