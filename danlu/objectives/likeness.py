"""How like data the samples of a model are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from danlu.data import DataError, Finite
from danlu.data.points import Points
from danlu.distances import Distance, directions, energy, frechet, mmd, sliced, wasserstein
from danlu.distances.digits import digit_features
from danlu.objectives.numbers import Floats
from danlu.spec.metrics import DISTANCES, Judge

FEWEST = 4  # to compare samples with: halves of both give the distance its error


def _sliced(a: Floats, b: Floats) -> Distance:
    return sliced(a, b, directions(a.shape[1]))


def _paired(a: Floats, b: Floats) -> Distance:
    count = min(len(a), len(b))
    return wasserstein(a[:count], b[:count])


_MEASURES: dict[Judge, Callable[[Floats, Floats], Distance]] = {
    "energy": energy, "frechet": frechet, "sliced": _sliced, "w2": _paired, "mmd": mmd,
}  # fmt: skip


class Likeness:
    """The distance of ``count`` samples from data, with its standard error against others of both: from what
    is held out (of endless points, from as many fresh ones), or of digits, by ``frechet``, from all of
    them, as usual. Raises ``DataError`` where too few are held out."""

    def __init__(self, source: Points | Finite, by: Judge, count: int) -> None:
        self.by = by
        if isinstance(source, Points):
            self.compared = source.fresh(2, count)[0]
        else:
            parts = [source.train[0], source.held_out[0]]
            self.compared = np.concatenate(parts) if by == "frechet" else parts[1]
        if len(self.compared) < FEWEST:
            raise DataError(
                f"{source.spec.name}: samples are compared with what is held out, and that is "
                f"{len(self.compared)}; allowed: {FEWEST} or more (data.held_out is the share)"
            )

    def metric(self, made: Floats) -> dict[str, float]:
        """Of samples [count, …], scaled as data are: its value, and its error by a name of its own."""
        metric = DISTANCES[self.by]
        found = _MEASURES[self.by](self._rows(made), self._rows(self.compared))
        return {metric.name: found.value, metric.error: found.error}

    def _rows(self, samples: Any) -> Floats:
        if self.by == "frechet":
            return digit_features(samples.clip(0, 1))
        return np.asarray(samples).reshape(len(samples), -1)
