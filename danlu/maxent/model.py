"""A fitted model: weights by name. It predicts, is scored, kept and read back."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from danlu.files.json import read_object, write_json
from danlu.maxent.errors import MaxentError
from danlu.maxent.features import Array, Features, Flags, log_probabilities
from danlu.maxent.problem import positions

FORM = "danlu maxent 1"
SHAPE = {"form": FORM, "classes": [str], "weights": {...: float}, "barred": [str]}


@dataclass(frozen=True)
class Score:
    """How well p(y|x) foretells. ``nats``, ``bits``: mean −ln p and −log₂ p of what was observed; infinite
    where a barred pair was. ``accuracy``: the share whose class has the highest p, the first of equals."""

    count: float
    nats: float
    accuracy: float

    @property
    def bits(self) -> float:
        return self.nats / math.log(2)


@dataclass(frozen=True, eq=False)
class Model:
    """``weights``, ``barred``: (names,), in the order of ``names``; see ``danlu.maxent.Problem``."""

    classes: tuple[str, ...]
    names: tuple[str, ...]
    weights: Array
    barred: Flags

    def log_probabilities(self, features: Features) -> Array:
        """ln p(y|x), (rows, classes). Raises MaxentError where the features are not the model's."""
        for what, mine, given in (
            ("classes", self.classes, features.classes),
            ("features", self.names, features.names),
        ):
            if mine != given:
                odd = next((word for word in given if word not in set(mine)), "another order")
                raise MaxentError(
                    f"the model knows {len(mine)} {what} and got {len(given)}, with {odd!r} among them; "
                    "make the features as they were made for the fit"
                )
        return log_probabilities(features, self.weights, self.barred)

    def predict(self, features: Features) -> list[str]:
        """The class with the highest probability of each row, the first of equals."""
        return [self.classes[y] for y in self.log_probabilities(features).argmax(axis=1)]

    def score(self, features: Features, labels: Iterable[object]) -> Score:
        """How well it foretells one class for each row."""
        counts = np.zeros((features.rows, len(self.classes)))
        counts[np.arange(features.rows), positions(features, labels)] = 1
        return self.score_counts(features, counts)

    def score_counts(self, features: Features, counts: ArrayLike) -> Score:
        """How well it foretells what was counted, n(x, y), (rows, classes)."""
        table = np.asarray(counts, dtype=np.float64)
        log = self.log_probabilities(features)
        if table.shape != log.shape or not table.any():
            raise MaxentError(f"counts are {table.shape}; give {log.shape}, not all of them 0")
        total = float(table.sum())
        seen = table > 0
        right = float(table[np.arange(len(table)), log.argmax(axis=1)].sum())
        return Score(total, -float(table[seen] @ log[seen]) / total, right / total)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file: the weight of each feature by its name. Raises FileError."""
        barred = [name for name, out in zip(self.names, self.barred, strict=True) if out]
        weights = dict(zip(self.names, self.weights.tolist(), strict=True))
        write_json(Path(path), {"form": FORM, "classes": self.classes, "weights": weights, "barred": barred})


def read(path: str | os.PathLike[str]) -> Model:
    """The model in a file that ``Model.save`` wrote. Raises FileError, or MaxentError for weights that no
    model has."""
    found = read_object(path, SHAPE)
    names = tuple(found["weights"])
    weights = np.array(list(found["weights"].values()), dtype=np.float64)
    if not np.isfinite(weights).all():
        raise MaxentError(f"{os.fspath(path)}: a weight is NaN or infinite; fit again")
    if unknown := set(found["barred"]) - set(names):
        raise MaxentError(f"{os.fspath(path)}: {min(unknown)!r} is barred but has no weight; fit again")
    barred = np.isin(np.array(names, dtype=object), found["barred"]) if names else np.zeros(0, bool)
    return Model(tuple(found["classes"]), names, weights, barred)
