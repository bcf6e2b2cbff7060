"""Fréchet distance of two Gaussians, and of samples by their features' means and covariances (FID)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from danlu.distances.errors import DistanceError
from danlu.distances.result import Array, Distance, halves, tables


def frechet(x: ArrayLike, y: ArrayLike, *, repeats: int = 10, seed: int = 0) -> Distance:
    """The Fréchet distance of the Gaussians that have the samples' means and covariances (Heusel et al.
    2017). The samples are features, (rows, dimensions), best of a fixed network.

    It is biased up, by about dimensions/rows: compare at equal numbers of rows. Its standard error is that of
    halves, each with twice the bias.
    """
    a, b = tables(x, y, least=2)
    error, how = halves(between, a, b, repeats=repeats, seed=seed)
    return Distance("Fréchet distance", between(a, b), error, how, (len(a), len(b)))


def between(a: Array, b: Array) -> float:
    """The value alone, of samples (rows, dimensions)."""
    return gaussians(*_moments(a), *_moments(b))


def gaussians(mean: ArrayLike, covariance: ArrayLike, mean2: ArrayLike, covariance2: ArrayLike) -> float:
    """‖μ₁ − μ₂‖² + tr(C + D − 2 (C^½ D C^½)^½) (Dowson & Landau 1982): W₂² of two Gaussians.

    By eigenvalues of symmetric matrices, so that features that are always 0, for which ``sqrtm(C @ D)`` is
    singular, are no matter.
    """
    a, b = np.atleast_1d(mean).astype(np.float64), np.atleast_1d(mean2).astype(np.float64)
    c, d = (np.atleast_2d(one).astype(np.float64) for one in (covariance, covariance2))
    if not a.shape == b.shape or not c.shape == d.shape == (len(a), len(a)):
        raise DistanceError(
            f"means are {a.shape} and {b.shape}, covariances {c.shape} and {d.shape}; give equal"
        )
    sizes, axes = np.linalg.eigh(c)
    root = axes * np.sqrt(np.maximum(sizes, 0.0)) @ axes.T
    inner = root @ d @ root
    product = np.sqrt(np.maximum(np.linalg.eigvalsh((inner + inner.T) / 2), 0.0)).sum()
    value = float(np.sum((a - b) ** 2)) + float(np.trace(c) + np.trace(d)) - 2 * float(product)
    return max(value, 0.0)


def _moments(sample: Array) -> tuple[Array, Array]:
    mean = sample.mean(axis=0)
    centred = sample - mean
    return mean, centred.T @ centred / max(len(sample) - 1, 1)
