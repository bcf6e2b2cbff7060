"""Noise levels σ: which ones a loss is asked at, how much each counts, and the grid that a sampler walks.

Laws take uniform numbers in (0, 1), so that levels may be stratified; grids are float64, largest first, 0
last.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Law(ABC):
    """Of the levels of training."""

    @abstractmethod
    def level(self, uniform: Tensor) -> Tensor:
        """σ of the same shape: the inverse of the distribution function."""


@dataclass(frozen=True)
class LogNormal(Law):
    """ln σ ~ N(mean, sd²) (EDM, Karras et al. 2022, table 1)."""

    mean: float = -1.2
    sd: float = 1.2

    def level(self, uniform: Tensor) -> Tensor:
        return torch.exp(self.mean + self.sd * torch.special.ndtri(uniform))


@dataclass(frozen=True)
class LogUniform(Law):
    """ln σ uniform from ln ``low`` to ln ``high`` (VE)."""

    low: float = 0.002
    high: float = 80.0

    def level(self, uniform: Tensor) -> Tensor:
        return self.low * torch.exp(math.log(self.high / self.low) * uniform)


class Weight(ABC):
    """What multiplies ‖D − x₀‖² in the loss."""

    @abstractmethod
    def __call__(self, sigma: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class DataWeight(Weight):
    """1: the squared error of the denoised data."""

    def __call__(self, sigma: Tensor) -> Tensor:
        return torch.ones_like(sigma)


@dataclass(frozen=True)
class NoiseWeight(Weight):
    """1/σ²: the squared error of the predicted noise (DDPM, VE)."""

    def __call__(self, sigma: Tensor) -> Tensor:
        return sigma**-2


@dataclass(frozen=True)
class EDMWeight(Weight):
    """(σ² + σ_d²)/(σσ_d)² (Karras et al. 2022): a network that answers 0 has loss 1 at every level, if mean
    x² of the data is σ_d² = ``sigma_data``²."""

    sigma_data: float = 0.5

    def __call__(self, sigma: Tensor) -> Tensor:
        return sigma**-2 + self.sigma_data**-2


class Grid(ABC):
    """The levels that a sampler passes."""

    @abstractmethod
    def levels(self, steps: int) -> Tensor:
        """``steps`` levels and 0: (steps + 1,)."""


@dataclass(frozen=True)
class Karras(Grid):
    """σ_i = (high^(1/ρ) + i/(N − 1) (low^(1/ρ) − high^(1/ρ)))^ρ (Karras et al. 2022, eq. 5), then 0. ρ = 1 is
    even in σ; ρ → ∞ in ln σ."""

    low: float = 0.002
    high: float = 80.0
    rho: float = 7.0

    def levels(self, steps: int) -> Tensor:
        share = torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1)
        first, last = self.high ** (1 / self.rho), self.low ** (1 / self.rho)
        return torch.cat([(first + share * (last - first)) ** self.rho, share.new_zeros(1)])


@dataclass(frozen=True)
class Geometric(Grid):
    """Even in ln σ from ``high`` to ``low``, then 0."""

    low: float = 0.002
    high: float = 80.0

    def levels(self, steps: int) -> Tensor:
        share = torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1)
        return torch.cat([self.high * (self.low / self.high) ** share, share.new_zeros(1)])
