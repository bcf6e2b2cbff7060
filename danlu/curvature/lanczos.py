"""Eigenvalues of a symmetric matrix of which only products are known: those at the ends, and the density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from danlu.curvature.products import Product

PATIENCE = 5  # steps for which eigenvalues must stay


class Lanczos:
    """The Lanczos process from ``start`` (size,): after m steps a tridiagonal matrix T (m, m), whose
    eigenvalues (Ritz values) approach those of the matrix, from its ends inwards.

    Every new vector is made orthogonal to all before it, twice: without that, rounding brings eigenvalues
    that were found already back again (Parlett 1998, chapter 13). Holds m vectors. ``exhausted``: the vectors
    span all that the products of ``start`` reach, so that the values are exact.
    """

    def __init__(self, product: Product, start: Tensor) -> None:
        self.product = product
        self.alphas: list[float] = []
        self.betas: list[float] = []  # the last one leads to the next vector
        self.vectors = [start / start.norm()]
        self.exhausted = False

    def extend(self, steps: int) -> None:
        """So many steps more, as far as there are."""
        for _ in range(steps):
            if self.exhausted:
                return
            v = self.vectors[-1]
            w = self.product(v)
            self.alphas.append(float(v @ w))
            size = float(w.norm())
            for u in self.vectors * 2:
                w = torch.addcmul(w, u, u @ w, value=-1)
            beta = float(w.norm())
            largest = max(size, *map(abs, self.alphas), *self.betas, 0.0)
            if beta <= 100 * torch.finfo(w.dtype).eps * largest or len(self.alphas) == len(v):
                self.betas.append(0.0)
                self.exhausted = True
                return
            self.betas.append(beta)
            self.vectors.append(w / beta)

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Ritz values (m,), ascending, and the eigenvectors of T as columns (m, m), in float64."""
        m = len(self.alphas)
        matrix = torch.diag(torch.tensor(self.alphas, dtype=torch.float64))
        beside = torch.tensor(self.betas[: m - 1], dtype=torch.float64)
        matrix += torch.diag(beside, 1) + torch.diag(beside, -1)
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors

    def vector(self, place: int) -> Tensor:
        """The Ritz vector (size,) of the value at ``place``, of length 1."""
        _, inside = self.ritz()
        basis = torch.stack(self.vectors[: len(self.alphas)])
        return inside[:, place].to(basis) @ basis


class Eigenvalues(NamedTuple):
    """``values``, descending; within ``bounds`` of each there is a true eigenvalue; after ``steps``."""

    values: tuple[float, ...]
    bounds: tuple[float, ...]
    lowest: float
    steps: int


def top(
    product: Product,
    like: Tensor,
    count: int = 1,
    *,
    tolerance: float = 1e-3,
    most: int = 100,
    generator: torch.Generator | None = None,
) -> Eigenvalues:
    """The ``count`` largest eigenvalues, and the lowest Ritz value (an upper bound of the lowest of all).

    Steps until ‖Hx − θx‖ of each, which is β_m times the last number of T's eigenvector, is at most
    ``tolerance`` times the largest |θ|, ``PATIENCE`` times in a row, for a value may settle for a while at
    its neighbour; ``most`` at the latest. A multiple eigenvalue is found once.
    """
    process, settled = Lanczos(product, gaussian(like, generator)), 0
    while True:
        process.extend(1)
        values, inside = process.ritz()
        bounds = process.betas[-1] * inside[-1].abs()
        done = len(values) >= count and float(bounds[-count:].max()) <= tolerance * float(values.abs().max())
        settled = settled + 1 if done else 0
        if settled == PATIENCE or process.exhausted or len(values) >= most:
            chosen = slice(-min(count, len(values)), None)
            return Eigenvalues(
                tuple(values[chosen].flip(0).tolist()),
                tuple(bounds[chosen].flip(0).tolist()),
                float(values[0]),
                len(values),
            )


class Spectrum(NamedTuple):
    """The density of eigenvalues as points: ``nodes`` and ``weights``, of each probe (sums of weights: 1)."""

    nodes: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]

    def moment(self, k: int) -> float:
        """Mean of the k-th powers of the eigenvalues, tr H^k / size, as the probes have it."""
        return sum(float((w * x.pow(k)).sum()) for x, w in zip(self.nodes, self.weights, strict=True)) / len(
            self.nodes
        )

    def smoothed(self, points: Sequence[float], width: float) -> list[float]:
        """The density at ``points``: every node a Gaussian of standard deviation ``width``."""
        at = torch.tensor(points, dtype=torch.float64)
        total = torch.zeros_like(at)
        for x, w in zip(self.nodes, self.weights, strict=True):
            far = (at[:, None] - x) / width
            total += (w * torch.exp(-0.5 * far.square())).sum(1)
        return (total / (len(self.nodes) * width * math.sqrt(2 * math.pi))).tolist()

    def share_below(self, bound: float) -> float:
        """The share of the eigenvalues below ``bound``."""
        return sum(float(w[x < bound].sum()) for x, w in zip(self.nodes, self.weights, strict=True)) / len(
            self.nodes
        )


def density(
    product: Product,
    like: Tensor,
    *,
    probes: int = 1,
    steps: int = 30,
    generator: torch.Generator | None = None,
) -> Spectrum:
    """Stochastic Lanczos quadrature (Golub & Welsch 1969; Ghorbani et al. 2019): nodes are the Ritz values of
    a random start v, weights the squared first numbers of T's eigenvectors. Σ w·node^k = vᵀH^k v/vᵀv for
    k ≤ 2·steps − 1, exactly."""
    nodes, weights = [], []
    for _ in range(probes):
        process = Lanczos(product, gaussian(like, generator))
        process.extend(steps)
        values, inside = process.ritz()
        nodes.append(values)
        weights.append(inside[0].square())
    return Spectrum(tuple(nodes), tuple(weights))


def gaussian(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A vector of normal numbers, drawn on the CPU in float64, so that types and devices agree."""
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)
