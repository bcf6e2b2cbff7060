"""Data for which everything is known: mixtures of Gaussians on any path with normal noise.

x = α x₁ + s ε with x₁ ~ Σ_k π_k N(μ_k, diag v_k²): D, score, velocity, density and the least loss in closed
form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.flows.convert import Field
from danlu.flows.paths import Path
from danlu.flows.shapes import over, rows, size

Scale = Tensor | float  # a number, or (batch,)


@dataclass(frozen=True)
class Mixture:
    """``weights`` (K,) that sum to 1, ``means`` (K, d), ``sds`` (K, d), standard deviations above 0."""

    weights: Tensor
    means: Tensor
    sds: Tensor

    def __post_init__(self) -> None:
        if (
            self.means.ndim != 2
            or self.sds.shape != self.means.shape
            or self.weights.shape != self.means.shape[:1]
        ):
            raise ValueError(
                f"weights {tuple(self.weights.shape)}, means {tuple(self.means.shape)} and sds "
                f"{tuple(self.sds.shape)} do not belong together; allowed: (K,), (K, d) and (K, d)"
            )

    def sample(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """(n, d) from ``uniform`` (n,) in [0, 1) and ``normal`` (n, d)."""
        ends = self.weights.cumsum(0)[:-1]
        k = torch.searchsorted(ends, uniform.to(ends.dtype), right=True)
        return self.means[k] + self.sds[k] * normal

    def log_density(self, x: Tensor, alpha: Scale = 1.0, s: Scale = 0.0) -> Tensor:
        """ln p of ``x`` (batch, …): (batch,). With α = 1 and s = 0 that of the data."""
        return self._shifted(x, alpha, s)[2].logsumexp(1)

    def denoised(self, x: Tensor, alpha: Scale, s: Scale) -> Tensor:
        """D = E[x₁|x], of the shape of ``x``."""
        w, means, _ = self._posterior(x, alpha, s)
        return torch.einsum("bk,bkd->bd", w, means).reshape(x.shape)

    def score(self, x: Tensor, alpha: Scale, s: Scale) -> Tensor:
        """∇ ln p, of the shape of ``x``; s may be 0."""
        apart, variances, logits = self._shifted(x, alpha, s)
        return -torch.einsum("bk,bkd->bd", torch.softmax(logits, 1), apart / variances).reshape(x.shape)

    def spread(self, x: Tensor, alpha: Scale, s: Scale) -> Tensor:
        """E[‖x₁ − D‖² | x], (batch,): its mean over x is the least loss of a denoiser."""
        w, means, variances = self._posterior(x, alpha, s)
        denoised = torch.einsum("bk,bkd->bd", w, means)
        return (w * (variances + (means - denoised[:, None]).square()).sum(2)).sum(1)

    def velocity(self, path: Path) -> Field:
        """The velocity v(x, t) of the flow on ``path`` from standard normal noise."""

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            alpha, s, dalpha, ds = path.total(torch.as_tensor(t, dtype=x.dtype, device=x.device))
            noise = -over(s, x) * self.score(x, alpha, s)
            return over(dalpha, x) * self.denoised(x, alpha, s) + over(ds, x) * noise

        return velocity

    def denoiser(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x, σ) at noise levels, for samplers."""
        return self.denoised(x, 1.0, sigma)

    def least_loss(self, path: Path, x: Tensor, t: Tensor) -> Tensor:
        """E[‖target − v‖² | x], (batch,) for t (batch,): its mean over x_t and t is the least loss of flow
        matching on ``path`` with independent pairs and normal noise."""
        alpha, s, dalpha, ds = path.total(t)
        _, sigma, gamma = path.scales(path.inside(t))
        _, dsigma, dgamma = path.rates(path.inside(t))
        across = (dsigma * gamma - dgamma * sigma) / s  # noise that x does not show
        return ((dalpha * s - ds * alpha) / s).square() * self.spread(x, alpha, s) + across.square() * size(x)

    def _shifted(self, x: Tensor, alpha: Scale, s: Scale) -> tuple[Tensor, Tensor, Tensor]:
        """x − αμ and the variances of x, (batch, K, d); ln π + ln N, (batch, K)."""
        flat = rows(x)[:, None, :]
        alpha, s = over(alpha, flat), over(s, flat)
        apart = flat - alpha * self.means.to(flat)
        variances = ((alpha * self.sds.to(flat)).square() + s.square()).expand_as(apart)
        each = -(apart.square() / variances + (2 * math.pi * variances).log()).sum(2) / 2
        return apart, variances, each + self.weights.to(flat).log()

    def _posterior(self, x: Tensor, alpha: Scale, s: Scale) -> tuple[Tensor, Tensor, Tensor]:
        """Weights (batch, K), means and variances (batch, K, d) of x₁ given x."""
        apart, variances, logits = self._shifted(x, alpha, s)
        own = self.sds.to(x).square()
        means = self.means.to(x) + over(alpha, apart) * own / variances * apart
        return torch.softmax(logits, 1), means, own * over(s, apart).square() / variances


def gaussian(mean: Tensor, sd: Tensor) -> Mixture:
    """N(mean, diag sd²): (d,) each."""
    return Mixture(torch.ones_like(mean[:1]), mean[None], sd[None])
