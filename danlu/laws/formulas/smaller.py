"""Go smol (de Vries 2023): what a model smaller than the best one costs in training.

A model of k_N times the best size reaches the same loss with k_D times the tokens. At the optimum the terms
of ``chinchilla`` stand as (A/N^α)/(B/D^β) = β/α, so neither factor depends on the budget, nor on A, B and E.
"""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, Published
from danlu.laws.errors import LawError

# The post prints α = 0.32, but its table is computed with these.
DE_VRIES = Published((0.336, 0.283), "de Vries 2023, Go smol or go home, as computed: α and β")


def least_factor(alpha: Array | float, beta: Array | float) -> Array:
    """The k_N below which no number of tokens makes up for the size, (1 + α/β)^(−1/α)."""
    return (1 + np.asarray(alpha) / beta) ** (-1 / np.asarray(alpha))


def data_factor(size_factor: Array | float, alpha: Array | float, beta: Array | float) -> Array:
    """k_D = (1 − (k_N^−α − 1)·β/α)^(−1/β), elementwise; the arguments broadcast.

    Also for models larger than the best one (k_N > 1, k_D < 1).
    Raises LawError at or below ``least_factor``.
    """
    k, alpha, beta = np.asarray(size_factor, dtype=np.float64), np.asarray(alpha), np.asarray(beta)
    least = least_factor(alpha, beta)
    if np.any(k <= least):
        raise LawError(
            f"a model {float(np.min(k)):.3g} times the best size cannot reach its loss with any number of "
            f"tokens; the least is {float(np.max(least)):.3g} times"
        )
    return (1 - (k**-alpha - 1) * beta / alpha) ** (-1 / beta)


def overhead(size_factor: Array | float, alpha: Array | float, beta: Array | float) -> Array:
    """The share of training compute more than the best model takes, k_N·k_D − 1."""
    return np.asarray(size_factor) * data_factor(size_factor, alpha, beta) - 1
