"""Samples of a law with few modes, made equal in how many points each mode has.

How many of n independent points fall into each of k modes is multinomial. Moving what is too much in one mode
to another far away costs more than all differences within modes, even between two samples of one law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from danlu.distances.errors import DistanceError
from danlu.distances.result import Array, tables


@dataclass(frozen=True, eq=False)
class Strata:
    """``x``, ``y``: what is left of two samples, with as many points of each mode. ``x_counts``,
    ``y_counts``: how many there were, (modes,), which a measure of ``x`` and ``y`` does not see. ``off``: χ²
    of these two rows, with one degree of freedom fewer than there are modes in use.
    """

    x: Array
    y: Array
    x_counts: NDArray[np.int64]
    y_counts: NDArray[np.int64]
    off: float


def stratify(x: ArrayLike, y: ArrayLike, centres: ArrayLike, seed: int = 0) -> Strata:
    """Give each point to the nearest centre, (modes, dimensions), and keep, by chance, as many points of a
    mode as the sample has that has fewer. Raises DistanceError where nothing is left."""
    a, b, modes = tables(x, y, centres)
    generator = np.random.default_rng(seed)
    kept_a, kept_b = [], []
    of_a, of_b = modes_of(a, modes), modes_of(b, modes)
    for mode in range(len(modes)):
        here, there = np.flatnonzero(of_a == mode), np.flatnonzero(of_b == mode)
        size = min(len(here), len(there))
        kept_a.append(generator.permutation(here)[:size])
        kept_b.append(generator.permutation(there)[:size])
    first, second = np.concatenate(kept_a), np.concatenate(kept_b)
    if not len(first):
        raise DistanceError("no mode has points of both samples; compare them without strata")
    counts = np.stack([np.bincount(of, minlength=len(modes)) for of in (of_a, of_b)])
    used = counts[:, counts.sum(axis=0) > 0]
    expected = used.sum(axis=1, keepdims=True) * used.sum(axis=0) / used.sum()
    off = float(((used - expected) ** 2 / expected).sum())
    return Strata(a[first], b[second], counts[0], counts[1], off)


def modes_of(points: ArrayLike, centres: ArrayLike) -> NDArray[np.intp]:
    """The number of the nearest centre of each point, (rows,)."""
    a, modes = tables(points, centres)
    # ‖a − c‖² less ‖a‖², which is the same for all centres.
    return np.argmin(np.sum(modes**2, axis=1) - 2 * a @ modes.T, axis=1)
