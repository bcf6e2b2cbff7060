"""Su's isotropic construction (spaces.ac.cn/archives/9370): any radial law ψ_t(r) makes a flow.

(∂_t, ∇)·u = 0 with u = (p, p f) is solved by Green functions G(t, x; x₀) whose first part is p_t(x|x₀). The
clock is Su's: t = 0 is data, t grows with the noise. With ψ_t(r) = P(‖x − x₀‖ ≤ r at t), which rises from 0
to 1 in r, and to 1 for every r > 0 as t → 0:

    p_t(x|x₀) = ψ_r/(S r^(d−1))    f(x|x₀) = −(ψ_t/ψ_r) (x − x₀)/r    S: the area of the unit sphere

The kernels of ``danlu.flows.kernels`` are ψ(r/t), for which f = (x − x₀)/t. The end is only simple where ψ_T
is broad against the data; nothing in the construction sees to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.flows.kernels import inside, log_sphere
from danlu.flows.shapes import length, over, rows, size

HALVINGS = 80  # of an interval around a radius: to the last digit of float64


@dataclass(frozen=True)
class Isotropic:
    """``psi``: ψ(r, t) as a differentiable function of two (batch,) tensors; elementwise."""

    psi: Callable[[Tensor, Tensor], Tensor]

    def slopes(self, r: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """ψ_r and ψ_t, differentiable again: (batch,) each."""
        r, t = (v if v.requires_grad else v.detach().requires_grad_() for v in (r, t))
        with torch.enable_grad():
            psi = self.psi(r, t)
            by_r, by_t = torch.autograd.grad(psi.sum(), (r, t), create_graph=True)
        return by_r, by_t

    def log_density(self, x: Tensor, origin: Tensor, t: Tensor) -> Tensor:
        """ln p_t(x|x₀): (batch,)."""
        r = length(x - origin)
        return self.slopes(r, t)[0].log() - (size(x) - 1) * r.log() - log_sphere(size(x))

    def field(self, x: Tensor, origin: Tensor, t: Tensor) -> Tensor:
        """f(x|x₀), the velocity in t of a path that began at ``origin``: (batch, …)."""
        r = length(x - origin)
        by_r, by_t = self.slopes(r, t)
        return (x - origin) * over(-by_t / by_r / r, x)

    def green(self, x: Tensor, origin: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """G in two parts: p_t(x|x₀) (batch,) and p_t f (batch, …). (∂_t, ∇)·G = 0 off the origin."""
        r, d = length(x - origin), size(x)
        by_r, by_t = self.slopes(r, t)
        area = math.exp(log_sphere(d))
        return by_r / r ** (d - 1) / area, (x - origin) * over(-by_t / r**d / area, x)

    def velocity(self, x: Tensor, t: Tensor, points: Tensor, masses: Tensor | None = None) -> Tensor:
        """E[f|x] of a finite set of ``points`` (n, …) with ``masses`` (n,), left out: equal: (batch, …)."""
        n = points.shape[0]
        many, times = x.repeat_interleave(n, 0), t.expand(x.shape[0]).repeat_interleave(n)
        origins = points.repeat(x.shape[0], *[1] * (x.ndim - 1))
        logits = self.log_density(many, origins, times).reshape(-1, n)
        weights = torch.softmax(logits if masses is None else logits + masses.log(), dim=1)
        fields = rows(self.field(many, origins, times)).reshape(x.shape[0], n, -1)
        return torch.einsum("bn,bnd->bd", weights, fields).reshape(x.shape)

    def radius(self, uniform: Tensor, t: Tensor) -> Tensor:
        """The r with ψ_t(r) = ``uniform`` (batch,), by halving: float64, without a gradient."""
        u = inside(uniform)
        low, high = torch.zeros_like(u), torch.ones_like(u)
        with torch.no_grad():
            while (short := self.psi(high, t) < u).any():
                high = torch.where(short, 2 * high, high)
            for _ in range(HALVINGS):
                middle = (low + high) / 2
                below = self.psi(middle, t) < u
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def noise(self, normal: Tensor, uniform: Tensor, t: Tensor) -> Tensor:
        """x − x₀ at ``t`` from given random numbers: normal (batch, …) and uniform in [0, 1) (batch,)."""
        return normal * over(self.radius(uniform, t).to(normal.dtype) / length(normal), normal)


def gravity(t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The field of a unit charge at 0, (t, x)/R^(d+1) with R² = t² + ‖x‖²: in two parts, (batch,) and (batch,
    …). It is the only one that is isotropic in (t, x) and free of divergence; without its constant."""
    scale = (t.square() + length(x).square()) ** (-(size(x) + 1) / 2)
    return t * scale, x * over(scale, x)
