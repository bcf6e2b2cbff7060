"""How far beyond the data a place lies, and from where on nothing is told of it without being asked twice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from danlu.laws.base import Array
from danlu.laws.calibration import Calibration
from danlu.laws.errors import LawError, Warned
from danlu.laws.table import Points

Ranges = Mapping[str, tuple[float, float]]
WORDS = {"c": "compute", "n": "size", "d": "data"}
ALLOWED = 3.0  # times beyond the data, where one always may go
NOT_KNOWN = Warned(
    "no-ranges",
    "the fit does not say what it was fitted to, so nothing tells whether this is an extrapolation",
)


def along(places: Points, ranges: Ranges, name: str) -> Array:
    """How many times above the largest, or below the smallest, value a column lies; 1 within, (places,)."""
    if name not in places or name not in ranges:
        return np.ones(places.size)
    low, high = ranges[name]
    return np.maximum(1.0, np.maximum(places[name] / high, low / places[name]))


def reach(places: Points, ranges: Ranges) -> tuple[Array, list[str]]:
    """Of the column that lies farthest beyond the data, (places,), and its name."""
    names = [name for name in places if name in ranges]
    if not names:
        return np.ones(places.size), [""] * places.size
    every = np.array([along(places, ranges, name) for name in names])
    return every.max(0), [names[one] for one in every.argmax(0)]


def beyond(
    times: float, column: str, ranges: Ranges, calibration: Calibration | None, far: bool
) -> list[Warned]:
    """The warning of a place that lies so many ``times`` beyond the data of a column.

    Raises LawError where it lies too far, unless ``far``: more than ALLOWED times, and farther than
    calibration went or than the range of the data is wide (its root where nothing is calibrated).
    """
    low, high = ranges[column]
    span = high / low
    if calibration is None:
        reason, limit = f"the data span a factor of {span:.3g}, and no calibration is known", span**0.5
    elif calibration.farthest < span:
        limit = calibration.farthest
        reason = f"smaller budgets could be tested on runs up to {limit:.3g} times beyond them"
    else:
        reason, limit = f"the data span a factor of {span:.3g}", span
    told = (
        f"{WORDS.get(column, column)} is {times:.3g} times beyond what was measured ({low:.3g} to {high:.3g})"
    )
    if times > max(ALLOWED, limit):
        if not far:
            raise LawError(f"{told}, but {reason}: too far to be told; far (--far) tells it all the same")
        return [Warned("far-beyond", f"{told}, but {reason}: no measured error speaks for so far")]
    return [Warned("beyond", f"{told}: the law itself may not hold there")]
