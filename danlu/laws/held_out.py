"""The largest points held out, and how well a fit to the others predicts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array, Law
from danlu.laws.errors import LawError
from danlu.laws.fit import Fit, fit
from danlu.laws.table import Points, alike

SAME_RUNG = 1.05  # values of a column that differ by less than this factor belong to one rung


@dataclass(frozen=True)
class HoldOut:
    """A fit without the largest rungs, and how it predicts them.

    ``errors``: (held,), prediction/measured − 1. ``mean``: of their sizes. ``bias``: their mean.
    """

    fit: Fit
    by: str
    held: Points
    predicted: Array
    errors: Array
    mean: float
    bias: float


def rungs_of(values: Array) -> NDArray[np.int64]:
    """The rung of each value, (points,), 0 the smallest: values within 5 % of a rung's smallest are of it."""
    return alike(values, SAME_RUNG)


def largest(values: Array, rungs: int, name: str) -> NDArray[np.bool_]:
    """Which values are of the so many largest rungs, (points,); ``name``: of the column, for the LawError
    where there are not as many and one more."""
    rung = rungs_of(values)
    if not 0 < rungs <= rung.max():
        there = int(rung.max()) + 1
        raise LawError(f"of {there} value{'s' * (there != 1)} of {name}, {rungs} cannot be held out")
    return rung > rung.max() - rungs


def hold_out(law: Law, points: Points, rungs: int = 2, *, by: str | None = None, **options: Any) -> HoldOut:
    """Fit without the largest rungs and predict them.

    ``by``: the column whose largest values are held out, the law's first column where not said.
    ``options``: of ``fit`` (``loss``, ``starts``, ``fixed``).
    Raises LawError where too few points are left.
    """
    column = by or law.columns[0]
    if column not in points:
        raise LawError(f"there is no column {column} to hold out by; there are {', '.join(points)}")
    held = largest(points[column], rungs, column)
    found = fit(law, points.take(~held), **options)
    rest = points.take(held)
    predicted = found.predict(rest)
    errors = predicted / rest[law.target] - 1
    return HoldOut(found, column, rest, predicted, errors, float(np.abs(errors).mean()), float(errors.mean()))
