"""The runs that no mixture of others beats for their compute."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from danlu.laws.errors import LawError
from danlu.laws.table import Points


def lower_hull(points: Points) -> NDArray[np.int64]:
    """The points on the falling part of the lower convex hull of ln loss against ln compute, by compute.

    McLeish et al. 2025 (Gemstones, arXiv:2502.06857, section 3) fit such points only, in place of the best
    of each bin of compute: a run above the hull was of a poor shape or rate for its compute.
    Raises LawError where compute or loss are absent or not above zero.
    """
    points = points.with_compute()
    for name in ("c", "loss"):
        if name not in points or (points[name] <= 0).any():
            raise LawError(f"the hull needs {name} > 0 in every point; there are {', '.join(points)}")
    x, y = np.log(points["c"]), np.log(points["loss"])
    order = np.lexsort((y, x))
    order = order[np.concatenate([[True], np.diff(x[order]) > 0])]  # of equal compute the best
    hull: list[int] = []
    for i in order:
        while len(hull) > 1 and _above(x, y, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(int(i))
    lowest = int(np.argmin(y[hull]))
    return np.array(hull[: lowest + 1])


def _above(x: NDArray[np.float64], y: NDArray[np.float64], a: int, b: int, c: int) -> bool:
    """Whether b is not below the straight line from a to c."""
    return bool((y[b] - y[a]) * (x[c] - x[a]) >= (y[c] - y[a]) * (x[b] - x[a]))
