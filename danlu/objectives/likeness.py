"""How like data the samples of a model are."""

from __future__ import annotations

from typing import Literal

import numpy as np

from danlu.data import Finite
from danlu.data.points import Points
from danlu.distances import energy, frechet
from danlu.distances.digits import digit_features
from danlu.objectives.numbers import Floats


class Likeness:
    """The distance of ``count`` samples from data: ``energy``, from what is held out (of endless points, from
    as many fresh ones), or of digits ``frechet``, from all of them, as usual."""

    def __init__(self, source: Points | Finite, by: Literal["energy", "frechet"], count: int) -> None:
        self.by = by
        if isinstance(source, Points):
            self.compared = source.fresh(2, count)[0]
        else:
            parts = [source.train[0], source.held_out[0]]
            self.compared = np.concatenate(parts) if by == "frechet" else parts[1]

    def metric(self, made: Floats) -> dict[str, float]:
        """Of samples [count, …], scaled as data are."""
        if self.by == "frechet":
            features = digit_features(made.clip(0, 1)), digit_features(self.compared)
            return {"frechet_distance": frechet(*features).value}
        rows = made.reshape(len(made), -1), self.compared.reshape(len(self.compared), -1)
        return {"energy_distance": energy(*rows).value}
