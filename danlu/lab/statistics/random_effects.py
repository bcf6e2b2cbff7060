"""Values with known variances that scatter more than these say: weighted least squares with a variance of
their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

TINY = 1e-18  # variance of a value without any, so that it can be divided by
HALVINGS = 60


class Solution(NamedTuple):
    """(…, p) coefficients, their (…, p, p) covariance, and the (…) variance τ² between the values."""

    beta: Array
    covariance: Array
    tau2: Array


def solve(design: Array, y: Array, v: Array) -> Solution:
    """y = X β + u + ε, u ~ N(0, τ²), ε ~ N(0, v), with Paule and Mandel's τ²: the one at which the weighted
    squares Σ resid²/(v + τ²) are as many as they should be, k − p, or 0 where they are fewer already (Paule &
    Mandel 1982; of a line: Knapp & Hartung 2003). ``design`` (k, p); ``y`` and ``v`` (…, k)."""
    import numpy as np

    k, p = design.shape
    v = np.maximum(np.broadcast_to(v, y.shape), TINY)
    if k == p:
        return Solution(*_weighted(design, y, 1 / v)[:2], np.zeros(y.shape[:-1]))
    plain = _weighted(design, y, np.ones_like(v))[2]
    low, high = np.zeros(y.shape[:-1]), (plain**2).sum(-1) / (k - p)  # at the upper end they are too few
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        weight = 1 / (v + middle[..., None])
        many = (weight * _weighted(design, y, weight)[2] ** 2).sum(-1) > k - p
        low, high = np.where(many, middle, low), np.where(many, high, middle)
    weight = 1 / v
    scattered = (weight * _weighted(design, y, weight)[2] ** 2).sum(-1) > k - p
    tau2 = np.where(scattered, (low + high) / 2, 0.0)
    return Solution(*_weighted(design, y, 1 / (v + tau2[..., None]))[:2], tau2)


def _weighted(design: Array, y: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Coefficients, covariance, residuals."""
    import numpy as np

    covariance = np.linalg.inv(np.einsum("ki,...k,kj->...ij", design, weight, design))
    beta = np.einsum("...ij,kj,...k->...i", covariance, design, weight * y)
    return beta, covariance, y - beta @ design.T
