"""The lines of a plan, and the intervals that come from a fit's resamples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from danlu.laws.base import Array

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
