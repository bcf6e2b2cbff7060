"""Energy distance and MMD: both are 2 E d(x, y) − E d(x, x′) − E d(y, y′) of a function d of two points.

They are estimated without self pairs, hence without bias: the value may be below 0. The standard error is
that of Hoeffding's decomposition, in which such an estimate has a part that is linear in the points (falls as
1/n, and vanishes where both samples have one law) and one that is bilinear (falls as 1/n²); each variance is
estimated from row sums and sums of squares. No resampling, so one pass in blocks gives value and error. The
linear part is cut at 0, so that where both laws are one the error is too large by a quarter in the mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from danlu.distances.errors import DistanceError
from danlu.distances.result import Array, Distance, tables

CELLS = 1 << 20  # pairs that are held at once, 8 MB
BANDWIDTHS = (0.25, 1.0, 4.0)
HOW = "Hoeffding's decomposition"


def energy(x: ArrayLike, y: ArrayLike) -> Distance:
    """2 E‖x − y‖ − E‖x − x′‖ − E‖y − y′‖ (Székely & Rizzo 2013), of samples (rows, dimensions), unbiased.

    ``scipy.stats.energy_distance`` is the root of this with self pairs, in one dimension.
    """
    from scipy.spatial.distance import cdist

    return _distance("energy distance", x, y, lambda a, b: cdist(a, b))


def mmd(x: ArrayLike, y: ArrayLike, bandwidths: Sequence[float] = BANDWIDTHS) -> Distance:
    """MMD² (Gretton et al. 2012, eq. 3), unbiased, with the mean over ``bandwidths`` b of the kernels
    exp(−‖x − y‖²/(2b²)). Bandwidths are fixed, in the units of the samples, so that values are comparable."""
    if not bandwidths or any(not 0 < b < math.inf for b in bandwidths):
        raise DistanceError(f"bandwidths are {list(bandwidths)}; give some above 0")

    from scipy.spatial.distance import cdist

    def opposite(a: Array, b: Array) -> Array:
        squares = cdist(a, b, "sqeuclidean")
        kernels = [np.exp(squares * (-0.5 / width**2)) for width in bandwidths]
        return -np.mean(kernels, axis=0)

    return _distance("MMD²", x, y, opposite)


@dataclass(frozen=True)
class _Within:
    """Σ over the other points of d, (rows,); and the mean and the bilinear variance over pairs."""

    rows: Array
    mean: float
    bilinear: float


def _distance(name: str, x: ArrayLike, y: ArrayLike, d: Callable[[Array, Array], Array]) -> Distance:
    a, b = tables(x, y, least=4)
    n, m = len(a), len(b)
    first, second = _within(a, d), _within(b, d)
    rows, columns, squares = _between(a, b, d)
    mean = float(rows.sum()) / (n * m)
    rest = squares - float(rows @ rows) / m - float(columns @ columns) / n + n * m * mean**2
    crossed = max(rest / ((n - 1) * (m - 1)), 0.0)
    # What a row's mean says of its point has noise of its own, from the points that it was taken over.
    linear_x = np.var(rows / m - first.rows / (n - 1), ddof=1) - crossed / m - first.bilinear / (n - 1)
    linear_y = np.var(columns / n - second.rows / (m - 1), ddof=1) - crossed / n - second.bilinear / (m - 1)
    variance = (
        max(4 * float(linear_x) / n + 4 * float(linear_y) / m, 0.0)
        + 4 * crossed / (n * m)
        + 2 * first.bilinear / (n * (n - 1))
        + 2 * second.bilinear / (m * (m - 1))
    )
    value = 2 * mean - first.mean - second.mean
    return Distance(name, value, math.sqrt(variance), HOW, (n, m))


def _between(a: Array, b: Array, d: Callable[[Array, Array], Array]) -> tuple[Array, Array, float]:
    """The sums of d over each row and over each column, and the sum of d²."""
    rows, columns, squares = np.empty(len(a)), np.zeros(len(b)), 0.0
    size = max(1, CELLS // len(b))
    for start in range(0, len(a), size):
        block = d(a[start : start + size], b)
        rows[start : start + size] = block.sum(axis=1)
        columns += block.sum(axis=0)
        squares += float(np.vdot(block, block))
    return rows, columns, squares


def _within(a: Array, d: Callable[[Array, Array], Array]) -> _Within:
    """The same over the pairs of different points of one sample, each pair looked at once."""
    n, squares = len(a), 0.0
    rows = np.zeros(n)
    size = max(1, CELLS // n)
    for start in range(0, n, size):
        stop = min(start + size, n)
        block = d(a[start:stop], a[start:])
        own, later = block[:, : stop - start], block[:, stop - start :]
        np.fill_diagonal(own, 0.0)
        rows[start:stop] += block.sum(axis=1)
        rows[stop:] += later.sum(axis=0)
        squares += float(np.sum(own * own)) / 2 + float(np.sum(later * later))
    mean = float(rows.sum()) / (n * (n - 1))
    effects = (rows - (n - 1) * mean) / (n - 2)  # least squares of d = mean + effect + effect
    rest = squares - n * (n - 1) / 2 * mean**2 - (n - 2) * float(effects @ effects)
    return _Within(rows, mean, max(rest / (n * (n - 3) / 2), 0.0))
