"""Tables of the kind that the notes of the field measure: binary features, classes that overlap."""

from __future__ import annotations

import numpy as np

from danlu.maxent import Problem, linear, of_labels


def table(seed: int, rows: int = 400, columns: int = 12, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Binary x (rows, columns) and labels (rows,), drawn from a log-linear model."""
    generator = np.random.default_rng(seed)
    x = (generator.random((rows, columns)) < generator.uniform(0.3, 0.7, columns)).astype(float)
    scores = x @ generator.normal(size=(columns, classes))
    return x, (scores + generator.gumbel(size=scores.shape)).argmax(axis=1)


def problem(seed: int, rows: int = 400, columns: int = 12, classes: int = 3) -> Problem:
    """The constraints of such a table, a constant among its columns."""
    x, y = table(seed, rows, columns, classes)
    return of_labels(linear(x, range(classes)), y)
