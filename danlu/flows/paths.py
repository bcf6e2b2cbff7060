"""Paths from noise to data: x_t = α x₁ + σ x₀ + γ z. The clock: t = 0 is noise x₀, t = 1 is data x₁.

z is standard normal, and γ is 0 but for paths that are noisy between their ends. α, σ, γ are functions of t,
which is a tensor of any shape; so are their derivatives. The target α̇ x₁ + σ̇ x₀ + γ̇ z is the conditional
velocity of x_t, whatever the law of x₀; where x₀ is standard normal, too, so is the whole noise
(σ x₀ + γ z)/√(σ² + γ²), and ``danlu.flows.convert`` holds.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from danlu.flows.shapes import over


class Scales(NamedTuple):
    """What multiplies data, noise and the noise between the ends; or the derivatives of that."""

    alpha: Tensor
    sigma: Tensor
    gamma: Tensor


class Path(ABC):
    """What every path has. ``ends``: how far from t = 0 and from t = 1 its derivatives are finite."""

    ends: ClassVar[tuple[float, float]] = (0.0, 0.0)
    noisy: ClassVar[bool] = False  # whether ``at`` and ``target`` need z

    @abstractmethod
    def scales(self, t: Tensor) -> Scales:
        """α, σ, γ at ``t``."""

    @abstractmethod
    def rates(self, t: Tensor) -> Scales:
        """α̇, σ̇, γ̇ at ``t``."""

    def inside(self, t: Tensor) -> Tensor:
        """``t``, moved to where the derivatives are finite."""
        return t.clamp(self.ends[0], 1 - self.ends[1])

    def at(self, noise: Tensor, data: Tensor, t: Tensor, between: Tensor | None = None) -> Tensor:
        """x_t (batch, …) for t (batch,); ``between`` is z, of the same shape, for noisy paths."""
        return self._sum(self.scales(self.inside(t)), noise, data, between)

    def target(self, noise: Tensor, data: Tensor, t: Tensor, between: Tensor | None = None) -> Tensor:
        """The conditional velocity: ẋ_t at fixed x₀, x₁, z. Its mean given x_t is the velocity."""
        return self._sum(self.rates(self.inside(t)), noise, data, between)

    def total(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """α, s, α̇, ṡ with s = √(σ² + γ²), the scale of all noise where x₀ is standard normal."""
        t = self.inside(t)
        (alpha, sigma, gamma), (dalpha, dsigma, dgamma) = self.scales(t), self.rates(t)
        if not self.noisy:
            return alpha, sigma, dalpha, dsigma
        s = torch.hypot(sigma, gamma)
        return alpha, s, dalpha, (sigma * dsigma + gamma * dgamma) / s

    def _sum(self, by: Scales, noise: Tensor, data: Tensor, between: Tensor | None) -> Tensor:
        x = over(by.alpha, data) * data + over(by.sigma, noise) * noise
        if not self.noisy:
            return x
        if between is None:
            raise ValueError(
                f"the path {type(self).__name__} is noisy between its ends; give `between`, normal"
            )
        return x + over(by.gamma, between) * between


class Plain(Path):
    """A path with γ = 0, whose ratio σ/α falls all the way: it is known by its ratio, too."""

    @abstractmethod
    def time(self, ratio: Tensor) -> Tensor:
        """The t at which σ/α is ``ratio``."""


@dataclass(frozen=True)
class Linear(Plain):
    """x_t = (1 − t) x₀ + t x₁ (rectified flow, Liu et al. 2022; I-CFM without noise, Tong et al. 2023)."""

    def scales(self, t: Tensor) -> Scales:
        return Scales(t, 1 - t, torch.zeros_like(t))

    def rates(self, t: Tensor) -> Scales:
        one = torch.ones_like(t)
        return Scales(one, -one, torch.zeros_like(t))

    def time(self, ratio: Tensor) -> Tensor:
        return 1 / (1 + ratio)


@dataclass(frozen=True)
class Smoothed(Path):
    """The linear path in a tube of constant noise: + σ z (I-CFM, Tong et al. 2023, eq. 14)."""

    noisy = True
    sigma: float = 0.1

    def scales(self, t: Tensor) -> Scales:
        return Scales(t, 1 - t, torch.full_like(t, self.sigma))

    def rates(self, t: Tensor) -> Scales:
        return Linear().rates(t)


@dataclass(frozen=True)
class Lipman(Plain):
    """N(t x₁, (1 − (1 − σ) t)²): the linear path to data with noise σ (Lipman et al. 2023, eq. 20, there
    called OT; it is no coupling)."""

    sigma: float = 1e-4

    def scales(self, t: Tensor) -> Scales:
        return Scales(t, 1 - (1 - self.sigma) * t, torch.zeros_like(t))

    def rates(self, t: Tensor) -> Scales:
        one = torch.ones_like(t)
        return Scales(one, (self.sigma - 1) * one, torch.zeros_like(t))

    def time(self, ratio: Tensor) -> Tensor:
        return 1 / (ratio + 1 - self.sigma)


@dataclass(frozen=True)
class Trigonometric(Plain):
    """x_t = cos(πt/2) x₀ + sin(πt/2) x₁ (Albergo & Vanden-Eijnden 2023): keeps the variance."""

    def scales(self, t: Tensor) -> Scales:
        turn = t * (math.pi / 2)
        return Scales(turn.sin(), turn.cos(), torch.zeros_like(t))

    def rates(self, t: Tensor) -> Scales:
        alpha, sigma, gamma = self.scales(t)
        return Scales(sigma * (math.pi / 2), alpha * (-math.pi / 2), gamma)

    def time(self, ratio: Tensor) -> Tensor:
        return torch.atan2(torch.ones_like(ratio), ratio) * (2 / math.pi)


@dataclass(frozen=True)
class Bridge(Path):
    """The linear path with a Brownian bridge: + σ √(t(1 − t)) z (Tong et al. 2023, eq. 20). It is a
    Schrödinger bridge where the pairs are those of the entropic plan with 2σ²."""

    ends = (1e-5, 1e-5)
    noisy = True
    sigma: float = 1.0

    def scales(self, t: Tensor) -> Scales:
        return Scales(t, 1 - t, self.sigma * (t * (1 - t)).sqrt())

    def rates(self, t: Tensor) -> Scales:
        one = torch.ones_like(t)
        return Scales(one, -one, self.sigma * (0.5 - t) / (t * (1 - t)).sqrt())


Mean = Literal["linear", "trigonometric"]
Tube = Literal["brownian", "quadratic", "sine"]


@dataclass(frozen=True)
class Interpolant(Path):
    """A stochastic interpolant I(t, x₀, x₁) + γ z (Albergo, Boffi & Vanden-Eijnden 2023): the mean is linear
    or trigonometric, and γ is ``scale`` times √(t(1 − t)), t(1 − t) or sin² πt. Its score is −E[z|x]/γ."""

    ends = (1e-5, 1e-5)
    noisy = True
    mean: Mean = "linear"
    tube: Tube = "brownian"
    scale: float = 1.0

    def scales(self, t: Tensor) -> Scales:
        alpha, sigma, _ = self._mean.scales(t)
        match self.tube:
            case "brownian":
                gamma = (t * (1 - t)).sqrt()
            case "quadratic":
                gamma = t * (1 - t)
            case "sine":
                gamma = (math.pi * t).sin().square()
        return Scales(alpha, sigma, self.scale * gamma)

    def rates(self, t: Tensor) -> Scales:
        alpha, sigma, _ = self._mean.rates(t)
        match self.tube:
            case "brownian":
                gamma = (0.5 - t) / (t * (1 - t)).sqrt()
            case "quadratic":
                gamma = 1 - 2 * t
            case "sine":
                gamma = math.pi * (2 * math.pi * t).sin()
        return Scales(alpha, sigma, self.scale * gamma)

    @property
    def _mean(self) -> Path:
        return Linear() if self.mean == "linear" else Trigonometric()


@dataclass(frozen=True)
class VP(Plain):
    """Variance preserving: α = exp(−¼s²(β₁ − β₀) − ½sβ₀), σ² = 1 − α², at s = 1 − t (Song et al. 2021,
    eq. 32). At t = 0 α is .0066, not 0; at t = 1 σ̇ is infinite."""

    ends = (0.0, 1e-5)
    beta_min: float = 0.1
    beta_max: float = 20.0

    def scales(self, t: Tensor) -> Scales:
        log = self._log_alpha(t)
        return Scales(log.exp(), (-torch.expm1(2 * log)).sqrt(), torch.zeros_like(t))

    def rates(self, t: Tensor) -> Scales:
        alpha, sigma, gamma = self.scales(t)
        dalpha = alpha * self._half_beta(t)
        return Scales(dalpha, -alpha * dalpha / sigma, gamma)

    def time(self, ratio: Tensor) -> Tensor:
        return self._time(-torch.log1p(ratio.square()) / 2)

    def _log_alpha(self, t: Tensor) -> Tensor:
        s = 1 - t
        return -s.square() * ((self.beta_max - self.beta_min) / 4) - s * (self.beta_min / 2)

    def _half_beta(self, t: Tensor) -> Tensor:
        return ((1 - t) * (self.beta_max - self.beta_min) + self.beta_min) / 2

    def _time(self, log_alpha: Tensor) -> Tensor:
        """The t of a ln α: the root of a quadratic, by the form that keeps its digits near t = 1."""
        fall, least = -log_alpha, self.beta_min / 2
        root = (least**2 + fall * (self.beta_max - self.beta_min)).sqrt()
        return 1 - 2 * fall / (least + root)


@dataclass(frozen=True)
class SubVP(VP):
    """Sub-VP: α as in VP, the standard deviation σ = 1 − α² (Song et al. 2021, eq. 29)."""

    ends = (0.0, 0.0)

    def scales(self, t: Tensor) -> Scales:
        log = self._log_alpha(t)
        return Scales(log.exp(), -torch.expm1(2 * log), torch.zeros_like(t))

    def rates(self, t: Tensor) -> Scales:
        alpha, _, gamma = self.scales(t)
        dalpha = alpha * self._half_beta(t)
        return Scales(dalpha, -2 * alpha * dalpha, gamma)

    def time(self, ratio: Tensor) -> Tensor:
        return self._time(-torch.asinh(ratio / 2))  # 1/α − α = ratio


@dataclass(frozen=True)
class VE(Plain):
    """Variance exploding: α = 1, σ = low·(high/low)^(1 − t) (Song et al. 2021, eq. 31)."""

    low: float = 0.01
    high: float = 50.0

    def scales(self, t: Tensor) -> Scales:
        sigma = self.low * torch.exp((1 - t) * math.log(self.high / self.low))
        return Scales(torch.ones_like(t), sigma, torch.zeros_like(t))

    def rates(self, t: Tensor) -> Scales:
        _, sigma, zero = self.scales(t)
        return Scales(zero, -sigma * math.log(self.high / self.low), zero)

    def time(self, ratio: Tensor) -> Tensor:
        return 1 - (ratio / self.low).log() / math.log(self.high / self.low)
