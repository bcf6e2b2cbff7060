"""Wasserstein distances: exact by assignment, exact in one dimension by sorting, and averaged over lines."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from danlu.distances.errors import DistanceError
from danlu.distances.result import Array, Distance, halves, tables

LARGEST = 5_000  # rows of an assignment: a 200 MB table, and a minute


def wasserstein(x: ArrayLike, y: ArrayLike, *, repeats: int = 4, seed: int = 0) -> Distance:
    """W₂ of two samples of equal size, (rows, dimensions): the root of the least mean square distance over
    all ways to pair them. Its time grows with the cube of the rows; its bias falls as
    rows^(−1/dimensions)."""
    a, b = tables(x, y)
    if len(a) != len(b):
        raise DistanceError(f"samples have {len(a)} and {len(b)} rows; W₂ by assignment needs equally many")
    if len(a) > LARGEST:
        raise DistanceError(f"samples have {len(a)} rows; give at most {LARGEST}, or use sliced")
    error, how = halves(_assigned, a, b, repeats=repeats, seed=seed)
    return Distance("W₂", _assigned(a, b), error, how, (len(a), len(b)))


def wasserstein_line(
    x: ArrayLike, y: ArrayLike, order: int = 2, *, repeats: int = 10, seed: int = 0
) -> Distance:
    """W₁ or W₂ (``order``) of two samples of numbers, (rows,), of any sizes: exact, by sorting."""
    a, b = tables(x, y)
    if a.shape[1] != 1:
        raise DistanceError(
            f"samples have {a.shape[1]} dimensions; on a line there is 1, else use wasserstein"
        )
    if order not in (1, 2):
        raise DistanceError(f"order = {order}; give 1 or 2")

    def measure(first: Array, second: Array) -> float:
        return float(_lines(first, second, order)[0] ** (1 / order))

    error, how = halves(measure, a, b, repeats=repeats, seed=seed)
    return Distance("W₁" if order == 1 else "W₂", measure(a, b), error, how, (len(a), len(b)))


def sliced(
    x: ArrayLike, y: ArrayLike, directions: ArrayLike, *, repeats: int = 10, seed: int = 0
) -> Distance:
    """Sliced W₂ (Bonneel et al. 2015): the root of the mean W₂² of the samples' shadows on lines.

    ``directions``: (lines, dimensions), given, so that values compare; each is scaled to length 1.
    """
    a, b = tables(x, y)
    lines = np.asarray(directions, dtype=np.float64)
    if lines.ndim != 2 or lines.shape[1] != a.shape[1] or not np.isfinite(lines).all():
        raise DistanceError(f"directions are {lines.shape}; give finite (lines, {a.shape[1]})")
    lengths = np.linalg.norm(lines, axis=1, keepdims=True)
    if not lengths.all():
        raise DistanceError("a direction has length 0; give directions that point somewhere")
    lines = lines / lengths

    def measure(first: Array, second: Array) -> float:
        return math.sqrt(float(_lines(first @ lines.T, second @ lines.T, 2).mean()))

    error, how = halves(measure, a, b, repeats=repeats, seed=seed)
    return Distance(f"sliced W₂ ({len(lines)} lines)", measure(a, b), error, how, (len(a), len(b)))


def directions(dimensions: int, lines: int = 100, seed: int = 0) -> Array:
    """Directions of even chance, (lines, dimensions), the same for the same seed."""
    drawn = np.random.default_rng(seed).normal(size=(lines, dimensions))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def _assigned(a: Array, b: Array) -> float:
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    cost = cdist(a, b, "sqeuclidean")
    return math.sqrt(float(cost[linear_sum_assignment(cost)].mean()))


def _lines(a: Array, b: Array, order: int) -> Array:
    """Mean |difference|^order between the quantiles of each column, (columns,)."""
    a, b = np.sort(a, axis=0), np.sort(b, axis=0)
    n, m = len(a), len(b)
    if n == m:
        return np.asarray((np.abs(a - b) ** order).mean(axis=0))
    # Steps of both quantile functions: at i/n and j/m, in units of 1/(nm) to be exact.
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    share = np.diff(ends, prepend=0) / (n * m)
    gap = a[(ends - 1) // m] - b[(ends - 1) // n]
    return np.asarray(share @ np.abs(gap) ** order)
