"""The lines of a plan, and the intervals that come from a fit's resamples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from danlu.laws.base import Array
from danlu.laws.doubt import stretched, widening

LEVEL = 0.95
SAME = 1e-9
SHARE = "more compute"  # the unit of waste: 0.1 is a tenth more than the best run takes


class Line(NamedTuple):
    """One line of a plan.

    ``key``: ASCII, and stays the same from version to version. ``name``: for people. ``low`` and ``high``:
    the 95 % interval, None where none is known or an end is infinite. ``group``: the heading it stands under.
    """

    key: str
    name: str
    value: float
    low: float | None
    high: float | None
    unit: str
    source: str
    group: str


def ends(values: Array | None) -> tuple[float | None, float | None]:
    """The 95 % interval of resamples, (resamples,); (None, None) without them, or where all are one value."""
    if values is None or len(values) < 2:
        return None, None
    values = np.where(np.isfinite(values), values, np.inf)
    if values.max() <= values.min() * (1 + SAME):  # what is given, and rounding about it
        return None, None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail], method="nearest")
    return (float(low) if np.isfinite(low) else None), (float(high) if np.isfinite(high) else None)


class Spread(NamedTuple):
    """The run of every resample, ``many``, and of every fit without some clusters, ``apart``, where known."""

    many: Any
    apart: Any | None
    clusters: int

    def of(self, value: float, function: Callable[[Any], Array]) -> tuple[float | None, float | None]:
        """The interval of a function of the run around its ``value``; wider, where few clusters decide."""
        low, high = ends(function(self.many))
        if low is None or high is None or self.apart is None:
            return low, high
        around = np.asarray(function(self.apart))
        if not np.isfinite(around).all():
            return low, high
        at = np.array(value)
        low, high = stretched(at, widening(at, around, self.clusters, LEVEL), np.array([low, high])).tolist()
        return low, high
