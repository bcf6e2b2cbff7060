"""Values that scatter more than their variances say: weighted least squares with a variance between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

TINY = 1e-18  # variance of a value without any, so that it can be divided by
STEPS = 200  # many only where variances are next to nothing
PRECISE = 1e-9


class Solution(NamedTuple):
    """(…, p) coefficients, their (…, p, p) covariance, and the (…) variance τ² between the values."""

    beta: Array
    covariance: Array
    tau2: Array


def solve(design: Array, y: Array, v: Array) -> Solution:
    """y = X β + u + ε, u ~ N(0, τ²), ε ~ N(0, v), of ``design`` (k, p), ``y`` and ``v`` (…, k).

    τ² is the one at which the weighted squares Σ resid²/(v + τ²) are as many as they should be, k − p, or 0
    where they are fewer already (Paule & Mandel 1982; of a line: Knapp & Hartung 2003).
    """
    import numpy as np

    k, p = design.shape
    v = np.maximum(np.broadcast_to(v, y.shape), TINY)
    if k == p:
        return Solution(*_weighted(design, y, 1 / v)[:2], np.zeros(y.shape[:-1]))
    tau2 = np.zeros(y.shape[:-1])
    for _ in range(STEPS):  # Newton's: the sum falls ever less steeply, so it is never overshot from below
        weight = 1 / (v + tau2[..., None])
        squares = _weighted(design, y, weight)[2] ** 2
        step = ((weight * squares).sum(-1) - (k - p)) / np.maximum((weight**2 * squares).sum(-1), TINY)
        before, tau2 = tau2, np.maximum(tau2 + step, 0)
        if (np.abs(tau2 - before) <= PRECISE * tau2).all():
            break
    return Solution(*_weighted(design, y, 1 / (v + tau2[..., None]))[:2], tau2)


def _weighted(design: Array, y: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Coefficients, covariance, residuals."""
    import numpy as np

    covariance = np.linalg.inv(np.einsum("ki,...k,kj->...ij", design, weight, design))
    beta = np.einsum("...ij,kj,...k->...i", covariance, design, weight * y)
    return beta, covariance, y - beta @ design.T
