"""Memory: whether samples lie nearer to what a model was trained on than to data that it never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from danlu.distances.pairs import CELLS
from danlu.distances.result import Array, Distance, halves, tables


@dataclass(frozen=True)
class Memory:
    """Distances to the nearest point of as many training and held-out points.

    ``to_train``, ``to_held_out``: mean distances. ``nearer``: mean of the second minus the first: 0 for a
    model that has learned the law, above it for one that remembers. ``share`` of the samples nearer to a
    training point: ½ without memory. ``copies``: samples that are a training point.
    """

    to_train: Distance
    to_held_out: Distance
    nearer: Distance
    share: Distance
    copies: int

    def __str__(self) -> str:
        return "\n".join(map(str, (self.to_train, self.to_held_out, self.nearer, self.share))) + (
            f"\n{self.copies} copies of training points"
        )


def memory(
    samples: ArrayLike, train: ArrayLike, held_out: ArrayLike, *, repeats: int = 10, seed: int = 0
) -> Memory:
    """The test of memory. Of the larger of the two sets as many points as the other has are taken by chance,
    since the nearest of more points is nearer."""
    drawn, known, fresh = tables(samples, train, held_out, least=4)
    generator = np.random.default_rng(seed)
    size = min(len(known), len(fresh))
    copies = int((nearest(drawn, known) == 0).sum())
    known, fresh = (table[generator.permutation(len(table))[:size]] for table in (known, fresh))

    def one(name: str, value: float, error: tuple[float, str], sets: tuple[Array, ...]) -> Distance:
        return Distance(name, value, *error, tuple(map(len, sets)))

    def mean(a: Array, b: Array) -> float:
        return float(nearest(a, b).mean())

    def difference(a: Array, b: Array, c: Array) -> float:
        return mean(a, c) - mean(a, b)

    def nearer_share(a: Array, b: Array, c: Array) -> float:
        return float(0.5 + 0.5 * np.sign(nearest(a, c) - nearest(a, b)).mean())

    def told(name: str, measure: object, *sets: Array) -> Distance:
        assert callable(measure)
        return one(name, measure(*sets), halves(measure, *sets, repeats=repeats, seed=seed), sets)

    return Memory(
        told("to the nearest training point", mean, drawn, known),
        told("to the nearest held-out point", mean, drawn, fresh),
        told("nearer to training points by", difference, drawn, known, fresh),
        told("share nearer to a training point", nearer_share, drawn, known, fresh),
        copies,
    )


def nearest(samples: ArrayLike, points: ArrayLike) -> Array:
    """The distance of each sample, (rows, dimensions), to the nearest of the points: (rows,)."""
    from scipy.spatial.distance import cdist

    a, b = tables(samples, points)
    size = max(1, CELLS // len(b))
    parts = [cdist(a[i : i + size], b).min(axis=1) for i in range(0, len(a), size)]
    return np.concatenate(parts)
