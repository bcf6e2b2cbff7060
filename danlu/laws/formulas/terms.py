"""The piece that most laws are made of: A·x^−α, with its derivatives."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array


def decay(scale: Array, exponent: Array, x: Array) -> Array:
    """scale·x^−exponent; scale and exponent (…,), x (points,) or (…, points) → (…, points)."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        return np.exp(np.log(scale)[..., None] - exponent[..., None] * np.log(x))


def decay_rows(scale: Array, exponent: Array, x: Array) -> tuple[Array, Array]:
    """The derivatives of ``decay`` to scale and exponent."""
    value = decay(scale, exponent, x)
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        return value / scale[..., None], -np.log(x) * value


def add_decay_curvature(
    out: Array, at: tuple[int, int], scale: Array, exponent: Array, x: Array, weight: Array
) -> None:
    """Add Σᵢ weightᵢ·∂² of ``decay`` to ``out`` (…, parameters, parameters).

    ``at``: the places of scale and exponent among the parameters.
    """
    first, second = at
    weighted = weight * decay(scale, exponent, x)
    log_x = np.log(x)
    cross = -np.sum(weighted * log_x, axis=-1) / scale
    out[..., first, second] += cross
    out[..., second, first] += cross
    out[..., second, second] += np.sum(weighted * log_x**2, axis=-1)
