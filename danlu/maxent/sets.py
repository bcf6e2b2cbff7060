"""Sets of features that have a name: columns, indicators, contexts of a text, powers, tables by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from danlu.maxent.errors import MaxentError
from danlu.maxent.features import Array, Pairs, Product

CONSTANT = "constant"


def linear(
    x: ArrayLike, classes: Iterable[object], columns: Iterable[str] | None = None, *, constant: bool = True
) -> Product:
    """x ⊗ one-hot(y) of the columns of ``x`` (rows, columns), with a column of ones."""
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 2:
        raise MaxentError(f"x has the shape {values.shape}; give (rows, columns)")
    names = [f"x{j}" for j in range(values.shape[1])] if columns is None else list(columns)
    if constant:
        values, names = np.column_stack([values, np.ones(len(values))]), [*names, CONSTANT]
    return Product(values, tuple(names), _words(classes))


def indicators(
    table: Mapping[str, Sequence[Any]],
    classes: Iterable[object],
    values: Mapping[str, Sequence[Any]] | None = None,
    *,
    constant: bool = True,
) -> Product:
    """[column = value and y]: one for each value of each column of a table, and class.

    ``values``: what each column may be, by default what it is here. Give those of the training rows for other
    rows; a value that is not among them has no feature.
    """
    rows = len(next(iter(table.values())))
    blocks, names = [], []
    for column, found in table.items():
        if len(found) != rows:
            raise MaxentError(f"the column {column!r} has {len(found)} rows, not {rows}; give each as many")
        known = sorted(set(found)) if values is None else list(values[column])
        place = {value: i for i, value in enumerate(known)}
        at = np.array([place.get(value, -1) for value in found], dtype=np.intp)
        blocks.append(_one_hot(at, len(known)))
        names += [f"{column} = {value}" for value in known]
    if constant:
        blocks.append(sparse.csr_array(np.ones((rows, 1))))
        names.append(CONSTANT)
    return Product(sparse.hstack(blocks, format="csr"), tuple(names), _words(classes))


def contexts(tokens: ArrayLike, symbols: int, width: int = 1) -> tuple[Product, Array]:
    """Features of the ``width`` symbols before a symbol, each by its place, and how often what followed.

    The rows are the contexts that occur, in order; counts are (rows, symbols). Width 1 gives the table of
    bigrams. The feature of symbol s, k places before, is called ``-k: s``, the classes are the symbols.
    """
    sequence = np.asarray(tokens)
    if sequence.ndim != 1 or sequence.dtype.kind not in "iu" or len(sequence) <= width:
        raise MaxentError(f"give a sequence of more than {width} whole numbers, not {sequence.shape}")
    if sequence.min() < 0 or sequence.max() >= symbols:
        raise MaxentError(f"tokens go from {sequence.min()} to {sequence.max()}; give 0 ≤ token < {symbols}")
    if symbols**width >= 2**62:
        raise MaxentError(f"{width} symbols of {symbols} are too many contexts; give a smaller width")
    sequence = sequence.astype(np.int64)
    code = np.zeros(len(sequence) - width, np.int64)
    for k in range(width, 0, -1):
        code = code * symbols + sequence[width - k : len(sequence) - k]
    found, row = np.unique(code, return_inverse=True)
    pairs = np.bincount(row * symbols + sequence[width:], minlength=len(found) * symbols)
    blocks = [_one_hot(found // symbols ** (k - 1) % symbols, symbols) for k in range(1, width + 1)]
    columns = tuple(f"-{k}: {s}" for k in range(1, width + 1) for s in range(symbols))
    features = Product(sparse.hstack(blocks, format="csr"), columns, _words(range(symbols)))
    return features, pairs.reshape(-1, symbols).astype(np.float64)


def powers(values: ArrayLike, degree: int = 2) -> Pairs:
    """x, x², …, x^degree of one number that may be any of ``values``: one row, whose classes are the values.

    On a fine, wide grid x and x² give a Gaussian (see ``gaussian_weights``).
    """
    grid = np.asarray(values, dtype=np.float64).ravel()
    names = tuple("x" if k == 1 else f"x^{k}" for k in range(1, degree + 1))
    columns = grid[:, None] ** np.arange(1, degree + 1)
    return Pairs(sparse.csr_array(columns), names, _words(grid))


def gaussian_weights(mean: float, variance: float) -> Array:
    """λ of x and x² whose density e^{λ₁x + λ₂x²}/Z is the Gaussian: μ/σ² and −1/(2σ²)."""
    return np.array([mean / variance, -0.5 / variance])


def gaussian_moments(weights: Array) -> tuple[float, float]:
    """Mean and variance of the Gaussian with weights (λ₁, λ₂): σ² = −1/(2λ₂), μ = λ₁σ²."""
    if not weights[1] < 0:
        raise MaxentError(f"the weight of x² is {weights[1]:g}; a Gaussian needs one below 0")
    variance = -0.5 / weights[1]
    return float(weights[0] * variance), float(variance)


def by_hand(values: Mapping[str, ArrayLike], classes: Iterable[object]) -> Pairs:
    """Any features, each given as its values f(x, y), (rows, classes), by its name."""
    words = _words(classes)
    tables = {name: np.asarray(table, dtype=np.float64) for name, table in values.items()}
    shapes = {table.shape for table in tables.values()}
    if len(shapes) != 1 or (shape := next(iter(shapes)))[1:] != (len(words),):
        raise MaxentError(f"features have the shapes {sorted(shapes)}; give each as (rows, {len(words)})")
    stacked = np.stack([table.ravel() for table in tables.values()], axis=1)
    assert stacked.shape[0] == shape[0] * len(words)
    return Pairs(sparse.csr_array(stacked), tuple(tables), words)


def _one_hot(at: NDArray[np.int64], width: int) -> Any:
    """(rows, width), sparse: a one at place ``at``, none where it is negative."""
    rows = np.flatnonzero(at >= 0)
    return sparse.csr_array((np.ones(len(rows)), (rows, at[rows])), shape=(len(at), width))


def _words(classes: Iterable[object]) -> tuple[str, ...]:
    return tuple(str(y) for y in classes)
