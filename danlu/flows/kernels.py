"""Isotropic noise by scale: p(x|x₀) = Ψ(‖x − x₀‖/σ)/σ^d. The clock: the level σ falls from large to 0.

Whatever Ψ is, the conditional field of dx/dσ is (x − x₀)/σ, so that the marginal one is (x − D)/σ with
D = E[x₀|x]: one denoiser, one loss and one sampler serve all. Kernels differ in what weighs the points in D
and in the law that sampling starts from, σ ``noise`` at the largest level; that it is broad against the data
is for the user to see to.

Random numbers are given: ``normal`` (batch, …) and ``uniform`` (batch,) in [0, 1).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from danlu.flows.shapes import length, over, rows, size


class Kernel(ABC):
    """The law of noise ε at level 1; at level σ it is that of σ ε. ``d`` is the number of dimensions.
    ``heavy``: whether its length has tails that fall as a power only."""

    heavy: ClassVar[bool] = False

    @abstractmethod
    def log_psi(self, r: Tensor, d: int) -> Tensor:
        """ln Ψ, the density of ε in R^d at distance ``r``."""

    @abstractmethod
    def cdf(self, r: Tensor, d: int) -> Tensor:
        """ψ(r), the probability that ‖ε‖ ≤ ``r``."""

    @abstractmethod
    def noise(self, normal: Tensor, uniform: Tensor) -> Tensor:
        """ε, made of the given random numbers, of the shape of ``normal``."""

    def log_density(self, x: Tensor, origin: Tensor, sigma: Tensor | float) -> Tensor:
        """ln p(x|x₀) at level ``sigma``, a number or (batch,): (batch,)."""
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
        return self.log_psi(length(x - origin) / sigma, size(x)) - size(x) * sigma.log()

    def weights(
        self, x: Tensor, sigma: Tensor | float, points: Tensor, masses: Tensor | None = None
    ) -> Tensor:
        """How probable each of ``points`` (n, …) with ``masses`` (n,) (left out: equal) is as the origin of
        ``x`` (batch, …): (batch, n). Takes logarithms only, so that nothing underflows."""
        # the quick way by products loses half of the digits of short distances
        r = torch.cdist(rows(x), rows(points), compute_mode="donot_use_mm_for_euclid_dist")
        logits = self.log_psi(r / over(sigma, r), size(x))
        return torch.softmax(logits if masses is None else logits + masses.log(), dim=1)

    def denoised(
        self, x: Tensor, sigma: Tensor | float, points: Tensor, masses: Tensor | None = None
    ) -> Tensor:
        """The exact D = E[x₀|x] of a finite set of points, as for ``weights``: (batch, …)."""
        return (self.weights(x, sigma, points, masses) @ rows(points)).reshape(x.shape)


def log_sphere(d: int) -> float:
    """ln of the area of the unit sphere in R^d."""
    return math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)


def inside(uniform: Tensor) -> Tensor:
    """Uniform numbers in [0, 1), moved off the ends by half a step of 2⁻⁵³ as ``danlu.data.Counter`` does."""
    return uniform.double().clamp(2.0**-54, 1 - 2.0**-53)


@dataclass(frozen=True)
class Gaussian(Kernel):
    """Standard normal: VE and EDM."""

    def log_psi(self, r: Tensor, d: int) -> Tensor:
        return -r.square() / 2 - d / 2 * math.log(2 * math.pi)

    def cdf(self, r: Tensor, d: int) -> Tensor:
        half = torch.as_tensor(d / 2, dtype=r.dtype, device=r.device)
        return torch.special.gammainc(half.expand(r.shape), r.square() / 2)

    def noise(self, normal: Tensor, uniform: Tensor) -> Tensor:
        return normal


@dataclass(frozen=True)
class StudentT(Kernel):
    """PFGM++ (Xu et al. 2023) with D = ``extra`` dimensions, any number above 0: the electric field of
    charges in R^(d+D) at radius r = σ√D from the data's plane. p(x|x₀) is Student's t of D degrees of freedom
    and scale σ; D → ∞ is the Gaussian. For D ≤ 1 the length of the noise has no mean."""

    heavy = True
    extra: float = 128.0

    def log_psi(self, r: Tensor, d: int) -> Tensor:
        extra = self.extra
        constant = math.lgamma((extra + d) / 2) - math.lgamma(extra / 2) - d / 2 * math.log(extra * math.pi)
        return constant - (extra + d) / 2 * torch.log1p(r.square() / extra)

    def cdf(self, r: Tensor, d: int) -> Tensor:
        """As of every kernel; without a gradient."""
        from scipy.special import betainc

        share = (r.square() / (r.square() + self.extra)).detach().cpu().double().numpy()
        return torch.as_tensor(betainc(d / 2, self.extra / 2, share), dtype=r.dtype, device=r.device)

    def noise(self, normal: Tensor, uniform: Tensor) -> Tensor:
        from scipy.special import gammaincinv

        chi2 = 2 * gammaincinv(self.extra / 2, inside(uniform).cpu().numpy())
        scale = (self.extra / torch.as_tensor(chi2)).sqrt()
        return normal * over(scale, normal)


@dataclass(frozen=True)
class Poisson(StudentT):
    """PFGM (Xu et al. 2022): one extra dimension z = σ, in which the law is Cauchy's of scale z."""

    extra: float = field(default=1.0, init=False)


class Radial(Kernel):
    """Noise whose radius has the law ψ at level 1: by its inverse, and a direction that is uniform. Where ψ
    begins like r, the density r^(1−d) has no bound at the data for d > 1."""

    @abstractmethod
    def radius(self, uniform: Tensor) -> Tensor:
        """The r with ψ(r) = ``uniform``."""

    @abstractmethod
    def log_slope(self, r: Tensor) -> Tensor:
        """ln ψ'(r)."""

    def log_psi(self, r: Tensor, d: int) -> Tensor:
        near = r.clamp(min=torch.finfo(r.dtype).tiny)
        return self.log_slope(r) - (d - 1) * near.log() - log_sphere(d)

    def noise(self, normal: Tensor, uniform: Tensor) -> Tensor:
        r = self.radius(inside(uniform)).to(normal.dtype)
        return normal * over(r / length(normal), normal)


@dataclass(frozen=True)
class Tanh(Radial):
    """ψ = tanh r (Su 2022, spaces.ac.cn/archives/9370)."""

    def cdf(self, r: Tensor, d: int) -> Tensor:
        return r.tanh()

    def radius(self, uniform: Tensor) -> Tensor:
        return uniform.atanh()

    def log_slope(self, r: Tensor) -> Tensor:
        return 2 * (math.log(2) - r - torch.log1p(torch.exp(-2 * r)))


@dataclass(frozen=True)
class Exponential(Radial):
    """ψ = 1 − e^(−r) (Su 2022, spaces.ac.cn/archives/9370)."""

    def cdf(self, r: Tensor, d: int) -> Tensor:
        return -torch.expm1(-r)

    def radius(self, uniform: Tensor) -> Tensor:
        return -torch.log1p(-uniform)

    def log_slope(self, r: Tensor) -> Tensor:
        return -r


def pfgm_official(
    normal: Tensor,
    height: Tensor,
    direction: Tensor,
    uniform: Tensor,
    *,
    low: float = 0.01,
    growth: float = 0.03,
    most: float = 291.0,
) -> tuple[Tensor, Tensor]:
    """Noise (batch, …) and its height z (batch,) as PFGM's authors draw them, in place of a level that is
    chosen first: z = |height| s and ‖noise‖ = ‖normal‖ s with s = low (1 + growth)^m, m uniform up to
    ``most``.

    noise/z has Cauchy's law, that of ``Poisson`` at level 1; given z, only where m is far from its ends.
    ``normal`` and ``direction`` (batch, …) and ``height`` (batch,) are normal and independent.
    """
    s = low * (1 + growth) ** (most * uniform)
    noise = direction * over(length(normal) * s / length(direction), direction)
    return noise, height.abs() * s
