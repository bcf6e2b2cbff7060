"""Features f(x, y) of a row x and a class y, by name, in the two forms that need no loop over rows.

Everything a fit asks of features is linear in them: scores λ·f(x, y), expectations Σ q(x, y) f(x, y), and the
same expectations apart by levels of Σf. So no form need ever write out f for all rows, classes and names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from danlu.maxent.errors import MaxentError

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Features(ABC):
    """Features of ``rows`` rows and the classes ``classes``; ``names`` are in the order of the weights.

    Below q is (rows, classes) float64, such as a joint distribution of row and class.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    rows: int

    @abstractmethod
    def scores(self, weights: Array) -> Array:
        """λ·f(x, y): (rows, classes) float64 from weights (names,)."""

    @abstractmethod
    def expect(self, q: Array) -> Array:
        """Σ_xy q(x, y) f(x, y), (names,)."""

    @abstractmethod
    def expect_squares(self, q: Array) -> Array:
        """Σ_xy q(x, y) f(x, y)², (names,)."""

    @abstractmethod
    def by_level(self, q: Array, level: NDArray[np.intp], levels: int) -> Array:
        """The sum of ``expect`` over the pairs of each level alone: (levels, names); ``level`` is (rows,
        classes), from 0 below ``levels``."""

    @abstractmethod
    def bounds(self) -> tuple[Array, Array]:
        """The lowest and the highest value of each feature over all pairs, (names,) each."""

    @abstractmethod
    def matrix(self) -> Any:
        """All values, a sparse matrix (rows × classes, names), the class running fastest."""


@dataclass(frozen=True, eq=False)
class Product(Features):
    """x ⊗ one-hot(y): the weight of column j for class y is number j × classes + y. This is multinomial
    logistic regression.

    ``x``: (rows, columns), a float64 array or a SciPy sparse array. A constant is a column like any other.
    """

    x: Any
    columns: tuple[str, ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.x.shape[1] != len(self.columns):
            raise MaxentError(
                f"x has the shape {self.x.shape}, but there are {len(self.columns)} names of columns; "
                "give (rows, columns) and one name for each column"
            )
        if sparse.issparse(self.x):  # an array: of a matrix x * x is the product of matrices
            object.__setattr__(self, "x", sparse.csr_array(self.x))
        values = self.x.data if sparse.issparse(self.x) else self.x
        _check(values, self.classes, self.columns)

    @cached_property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"{column} & {y}" for column in self.columns for y in self.classes)

    @property
    def rows(self) -> int:  # type: ignore[override]
        return int(self.x.shape[0])

    def scores(self, weights: Array) -> Array:
        return np.asarray(self.x @ weights.reshape(len(self.columns), len(self.classes)))

    def expect(self, q: Array) -> Array:
        return np.asarray(self.x.T @ q).ravel()

    def expect_squares(self, q: Array) -> Array:
        return np.asarray((self.x * self.x).T @ q).ravel()

    def by_level(self, q: Array, level: NDArray[np.intp], levels: int) -> Array:
        if levels < len(self.classes):
            return np.stack([self.expect(np.where(level == v, q, 0.0)) for v in range(levels)])
        out = np.empty((levels, len(self.columns), len(self.classes)))
        every = np.arange(self.rows)
        for y in range(len(self.classes)):
            group = sparse.csr_array((q[:, y], (level[:, y], every)), shape=(levels, self.rows))
            found = group @ self.x
            out[..., y] = found.toarray() if sparse.issparse(found) else found
        return out.reshape(levels, -1)

    def bounds(self) -> tuple[Array, Array]:
        low, high = self.x.min(axis=0), self.x.max(axis=0)
        if sparse.issparse(self.x):
            low, high = low.toarray(), high.toarray()
        # Of x ⊗ one-hot(y) a pair with another class has the value 0.
        each = len(self.classes)
        low, high = np.repeat(np.ravel(low), each), np.repeat(np.ravel(high), each)
        return (np.minimum(low, 0.0), np.maximum(high, 0.0)) if each > 1 else (low, high)

    def matrix(self) -> Any:
        return sparse.kron(sparse.csr_array(self.x), sparse.eye_array(len(self.classes)), format="csr")


@dataclass(frozen=True, eq=False)
class Pairs(Features):
    """Any features: ``values`` is a sparse matrix (rows × classes, names), the class running fastest."""

    values: Any
    names: tuple[str, ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", sparse.csr_array(self.values))
        pairs, features = self.values.shape
        if features != len(self.names) or pairs % len(self.classes):
            raise MaxentError(
                f"the values have the shape {self.values.shape}, but there are {len(self.names)} names and "
                f"{len(self.classes)} classes; give (rows × classes, names)"
            )
        _check(self.values.data, self.classes, self.names)

    @property
    def rows(self) -> int:  # type: ignore[override]
        return int(self.values.shape[0]) // len(self.classes)

    @cached_property
    def _turned(self) -> Any:
        return sparse.csr_array(self.values.T)

    def scores(self, weights: Array) -> Array:
        return np.asarray(self.values @ weights).reshape(self.rows, -1)

    def expect(self, q: Array) -> Array:
        return np.asarray(self._turned @ q.ravel())

    def expect_squares(self, q: Array) -> Array:
        return np.asarray((self._turned * self._turned) @ q.ravel())

    def by_level(self, q: Array, level: NDArray[np.intp], levels: int) -> Array:
        shape = (levels, q.size)
        group = sparse.csr_array((q.ravel(), (level.ravel(), np.arange(q.size))), shape=shape)
        return np.asarray((group @ self.values).toarray())

    def bounds(self) -> tuple[Array, Array]:
        ends = self.values.min(axis=0), self.values.max(axis=0)
        low, high = (np.ravel(end.toarray()).astype(np.float64) for end in ends)
        return low, high

    def matrix(self) -> Any:
        return self.values


def log_probabilities(features: Features, weights: Array, barred: Flags | None = None) -> Array:
    """ln p(y|x), (rows, classes). A pair for which a ``barred`` feature is positive has probability 0, the
    limit of a weight of −∞, unless that would leave a row no class."""
    scores = features.scores(weights)
    if barred is not None and barred.any():
        scores[~allowed(features, barred)] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def allowed(features: Features, barred: Flags) -> Flags:
    """The pairs that no barred feature forbids, (rows, classes)."""
    out = features.scores(barred.astype(np.float64)) > 0
    return ~(out & ~out.all(axis=1, keepdims=True))


def _check(values: Any, classes: tuple[str, ...], names: tuple[str, ...]) -> None:
    if not np.isfinite(values).all():
        raise MaxentError("a feature is NaN or infinite; take the row out, or mend the value")
    if not classes:
        raise MaxentError("there are no classes; name at least one")
    for what, words in (("class", classes), ("name", names)):
        if len(set(words)) < len(words):
            twice = next(word for i, word in enumerate(words) if word in words[:i])
            raise MaxentError(f"the {what} {twice!r} is given twice; each needs a name of its own")
