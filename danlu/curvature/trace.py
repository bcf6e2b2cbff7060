"""The trace of a matrix of which only products are known."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from danlu.curvature.products import Product


class Trace(NamedTuple):
    """``value`` ± ``error`` (one standard error) from ``samples``; ``diagonal`` (size,): an estimate of every
    number on it, noisy one by one, whose sums over layers are as good as the whole."""

    value: float
    error: float
    samples: tuple[float, ...]
    diagonal: Tensor


def hutchinson(
    product: Product,
    like: Tensor,
    *,
    error: float = 0.05,
    least: int = 8,
    most: int = 256,
    generator: torch.Generator | None = None,
) -> Trace:
    """tr H = E vᵀHv over vectors of random signs (Hutchinson 1990); the variance of one is 2 Σ_{i≠j} H_ij².

    ``like``: a vector (size,), whose type and device are taken. Stops where the standard error is at most
    ``error`` times the value, after ``least`` vectors at the earliest and ``most`` at the latest. (To stop
    where the value changes little, as PyHessian does, stops by luck.)
    """
    samples: list[float] = []
    diagonal = torch.zeros_like(like)
    mean = squares = 0.0  # of the deviations, both as they grow (Welford 1962)
    spread = math.inf
    while len(samples) < most:
        v = signs(like, generator)
        products = v * product(v)
        diagonal += products
        samples.append(float(products.sum()))
        n, off = len(samples), samples[-1] - mean
        mean += off / n
        squares += off * (samples[-1] - mean)
        if n > 1:
            spread = math.sqrt(squares / (n - 1) / n)
        if n >= least and spread <= error * abs(mean):
            break
    return Trace(mean, spread, tuple(samples), diagonal / len(samples))


def signs(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A vector of −1 and 1, drawn on the CPU, so that devices agree."""
    drawn = torch.randint(0, 2, like.shape, generator=generator)
    return (2 * drawn - 1).to(like)
