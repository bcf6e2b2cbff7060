"""Paths, data and random numbers that the tests of flows share."""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.flows import (
    VE,
    VP,
    Bridge,
    Exponential,
    Gaussian,
    Interpolant,
    Linear,
    Lipman,
    Mixture,
    Poisson,
    Smoothed,
    StudentT,
    SubVP,
    Tanh,
    Trigonometric,
)

PLAIN = [Linear(), Lipman(sigma=0.1), Trigonometric(), VP(), SubVP(), VE()]
NOISY = [
    Smoothed(sigma=0.3),
    Bridge(sigma=0.7),
    Interpolant(),
    Interpolant(mean="trigonometric", tube="sine", scale=0.5),
    Interpolant(tube="quadratic", scale=2.0),
]
PATHS = PLAIN + NOISY
KERNELS = [Gaussian(), Poisson(), StudentT(extra=3.5), Tanh(), Exponential()]


def name(part: object) -> str:
    """For ``ids``."""
    return str(part)


def of(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def uniform(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def signs(*shape: int, seed: int = 2) -> Tensor:
    return torch.randint(2, shape, generator=torch.Generator().manual_seed(seed)).double() * 2 - 1


MIXTURE = Mixture(
    of(0.5, 0.3, 0.2),
    torch.tensor([[1.0, -0.5], [-1.2, 0.4], [0.3, 1.5]], dtype=torch.float64),
    torch.tensor([[0.4, 0.6], [0.5, 0.3], [0.7, 0.5]], dtype=torch.float64),
)
