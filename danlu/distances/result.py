"""What a measure says: a value, its standard error against fresh data, and how the error was found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from danlu.distances.errors import DistanceError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Distance:
    """``value``, and ``error``: its standard deviation if all samples were drawn afresh, as many of each.

    ``how``: what the error was estimated by. ``counts``: how many rows each sample has.
    """

    name: str
    value: float
    error: float
    how: str
    counts: tuple[int, ...]

    def __str__(self) -> str:
        shown = f"{self.error:.1g}"
        rows = " and ".join(f"{n:,}" for n in self.counts)
        return f"{self.name} {self.value:.4g} ± {shown} ({self.how}; {rows} rows)"


def halves(
    measure: Callable[..., float], *samples: Array, repeats: int = 10, seed: int = 0
) -> tuple[float, str]:
    """The standard error of a measure of some samples, by repeated halves, and what to call that.

    Every sample is split by chance into two halves; a measure whose variance falls as 1/n has half the mean
    square difference between the halves' values, divided by 2, as its variance. Where two samples have one
    law and the variance falls as 1/n², the error comes out larger by up to √2: it errs on the safe side.
    NaN with ``repeats`` 0. Raises DistanceError for samples of fewer than 4 rows.
    """
    if repeats == 0:
        return math.nan, "no error asked for"
    if (least := min(map(len, samples))) < 4:
        raise DistanceError(f"a sample has {least} rows; repeated halves need 4, or give repeats=0")
    generator = np.random.default_rng(seed)
    squares = []
    for _ in range(repeats):
        orders = [generator.permutation(len(sample)) for sample in samples]
        first = measure(*(s[o[: len(o) // 2]] for s, o in zip(samples, orders, strict=True)))
        other = measure(*(s[o[len(o) // 2 : len(o) // 2 * 2]] for s, o in zip(samples, orders, strict=True)))
        squares.append((first - other) ** 2)
    return math.sqrt(float(np.mean(squares))) / 2, f"{repeats} times two halves"


def between_halves(
    name: str, measure: Callable[[Array, Array], float], data: ArrayLike, repeats: int = 20, seed: int = 0
) -> Distance:
    """How far data are from themselves: the mean of a measure between two halves, and its standard deviation
    over ways to split. What a perfect sampler would reach with half as many samples as there are data."""
    (table,) = tables(data, least=4)
    generator = np.random.default_rng(seed)
    half, values = len(table) // 2, []
    for _ in range(repeats):
        order = generator.permutation(len(table))
        values.append(measure(table[order[:half]], table[order[half : 2 * half]]))
    spread = float(np.std(values, ddof=1)) if repeats > 1 else math.nan
    return Distance(name, float(np.mean(values)), spread, f"over {repeats} splits", (half, half))


def tables(*samples: ArrayLike, least: int = 1) -> tuple[Array, ...]:
    """Samples as (rows, dimensions) float64; (rows,) counts as one dimension. Raises DistanceError where they
    have other dimensions, fewer rows than ``least``, or values that are not finite."""
    found = [np.asarray(sample, dtype=np.float64) for sample in samples]
    found = [table[:, None] if table.ndim == 1 else table for table in found]
    if wrong := [table.shape for table in found if table.ndim != 2]:
        raise DistanceError(f"a sample has the shape {wrong[0]}; give (rows, dimensions)")
    if len({table.shape[1] for table in found}) > 1:
        raise DistanceError(
            f"samples have {' and '.join(str(t.shape[1]) for t in found)} dimensions; give equal"
        )
    if short := [len(table) for table in found if len(table) < least]:
        raise DistanceError(f"a sample has {short[0]} rows; this measure needs {least} or more")
    if not all(np.isfinite(table).all() for table in found):
        raise DistanceError("a sample holds NaN or infinity; count such samples apart and leave them out")
    return tuple(found)
