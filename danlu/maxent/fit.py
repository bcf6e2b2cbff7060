"""Fitting a problem by one of three methods, and the course of it, in passes over the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from danlu.maxent.errors import MaxentError
from danlu.maxent.features import Array
from danlu.maxent.lbfgs import lbfgs
from danlu.maxent.model import Model
from danlu.maxent.problem import Look, Problem
from danlu.maxent.scaling import Method, gis, iis
from danlu.maxent.separable import direction, seems_open

METHODS: Mapping[str, Callable[[Problem, Array], Method]] = {"gis": gis, "iis": iis, "lbfgs": lbfgs}
GAPS = (1e-2, 1e-4, 1e-6, 1e-8)  # nats

Ending = Literal["converged", "rounding", "passes", "separable", "infeasible"]

_SAID: Mapping[Ending, str] = {
    "converged": "converged",
    "rounding": "no step lowers the loss any more: as near as this arithmetic comes",
    "passes": "stopped by the number of passes before it converged; give more passes, or fit by lbfgs",
    "separable": "the data are separable, or the moments at the edge of what can be: the likelihood rises "
    "for ever along a direction, so there is no optimum; smooth the counts (smooth = 0.01), or leave "
    "features out",
    "infeasible": "no distribution has these moments, so there is no optimum; mend the targets",
}


@dataclass(frozen=True, eq=False)
class Course:
    """``nll``: nats per row after each pass; ``residual``: the largest |E_p f − Ẽf|, as in ``Look``. The
    first pass looks at the start. A search along a line looks at points that it does not take."""

    nll: Array
    residual: Array

    @property
    def passes(self) -> int:
        """How many times the data were gone through."""
        return len(self.nll)

    def gap(self, optimum: float) -> Array:
        """How many nats each pass was above ``optimum``, (passes,)."""
        return self.nll - optimum

    def reached(self, optimum: float, gap: float) -> int | None:
        """How many passes it took until the NLL was no more than ``gap`` nats above ``optimum``."""
        near = self.gap(optimum) <= gap
        return int(near.argmax()) + 1 if near.any() else None


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted problem. ``direction``: of a separable one, the weights along which no likelihood falls."""

    problem: Problem
    method: str
    weights: Array
    found: Look
    course: Course
    ending: Ending
    direction: Array | None = None

    @property
    def model(self) -> Model:
        """The weights by name, to predict with and to keep."""
        features = self.problem.features
        return Model(features.classes, features.names, self.weights, self.problem.barred)

    def __str__(self) -> str:
        unseen = len(self.problem.unseen)
        what = "barred" if self.problem.barred.any() else "dropped"
        left = f"; features that are never seen, {what}: {unseen}" if unseen else ""
        return (
            f"{self.method}: {self.found.nll:.6g} nats after {self.course.passes} passes, constraints met to "
            f"{self.found.residual:.1e} ({_SAID[self.ending]}){left}"
        )


def fit(
    problem: Problem,
    method: str = "lbfgs",
    *,
    passes: int = 10_000,
    tolerance: float = 1e-10,
    start: Array | None = None,
) -> Fit:
    """Minimise the NLL from ``start`` (all 0), by ``gis``, ``iis`` or ``lbfgs``, in at most so many passes.

    It has converged where every constraint is met to ``tolerance``, as a share of the feature's largest size.
    Raises MaxentError for an unknown method, and from GIS and IIS for features below 0.
    """
    found = _run(problem, method, passes, start, lambda look: look.residual <= tolerance)
    if found.ending in ("converged", "rounding", "passes"):
        if seems_open(problem, found.found, found.ending == "passes"):
            along = direction(problem)
            return found if along is None else replace(found, ending="separable", direction=along)
        return found
    return replace(found, direction=found.weights) if found.ending == "separable" else found


def _run(
    problem: Problem, method: str, passes: int, start: Array | None, enough: Callable[[Look], bool]
) -> Fit:
    """Passes until one is ``enough``, until there is no optimum to be seen, or until there were so many."""
    if method not in METHODS:
        raise MaxentError(f"there is no method {method!r}; the methods are {', '.join(METHODS)}")
    if passes < 1:
        raise MaxentError(f"passes = {passes}; give 1 or more")
    begin = np.zeros(len(problem.targets)) if start is None else np.array(start, dtype=np.float64)
    proposals = METHODS[method](problem, begin)
    weights = next(proposals)
    best = weights.copy(), problem.look(weights)
    found, nlls, residuals = best[1], [best[1].nll], [best[1].residual]
    while (ending := _ending(found, enough(found), len(nlls) >= passes)) is None:
        try:
            weights = proposals.send(found)
        except StopIteration:
            ending = "rounding"
            break
        found = problem.look(weights)
        nlls.append(found.nll)
        residuals.append(found.residual)
        if found.recession <= 0 or enough(found) or _better(found, best[1]):
            best = weights.copy(), found
    return Fit(problem, method, *best, Course(np.array(nlls), np.array(residuals)), ending)


def _ending(found: Look, enough: bool, last: bool) -> Ending | None:
    if found.recession <= 0:
        return "separable" if found.recession == 0 else "infeasible"
    if enough:
        return "converged"
    return "passes" if last else None


def _better(found: Look, best: Look) -> bool:
    """By the NLL, and within its rounding by the constraints."""
    rounding = 1e-14 * (1 + abs(best.nll))
    return math.isfinite(found.nll) and (
        found.nll < best.nll - rounding
        or (found.nll <= best.nll + rounding and found.residual < best.residual)
    )


@dataclass(frozen=True)
class Passes:
    """Passes over the data to each gap in nats, by method; None where a fit ended before."""

    gaps: tuple[float, ...]
    optimum: float
    by_method: Mapping[str, tuple[int | None, ...]]

    def __str__(self) -> str:
        rows = [["gap in nats", *(f"{gap:.0e}" for gap in self.gaps)]]
        rows += [[name, *("–" if n is None else str(n) for n in row)] for name, row in self.by_method.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)


def compare(
    problem: Problem,
    gaps: Sequence[float] = GAPS,
    methods: Sequence[str] = tuple(METHODS),
    passes: int = 10_000,
) -> Passes:
    """How many passes each method needs to come so near to the optimum, which lbfgs finds to rounding.

    Raises MaxentError where there is no optimum.
    """
    exact = fit(problem, "lbfgs", tolerance=0.0, passes=passes)
    if exact.ending in ("separable", "infeasible"):
        raise MaxentError(f"there is no optimum to compare with: {_SAID[exact.ending]}")
    last = exact.found.nll + min(gaps)
    found = {name: _run(problem, name, passes, None, lambda at: at.nll <= last).course for name in methods}
    table = {
        name: tuple(course.reached(exact.found.nll, gap) for gap in gaps) for name, course in found.items()
    }
    return Passes(tuple(gaps), exact.found.nll, table)
