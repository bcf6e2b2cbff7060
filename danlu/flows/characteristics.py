"""The construction by characteristics (Su, spaces.ac.cn/archives/9379): tracks that all pass through a data
point.

The clock: t = 0 is the prior, t = 1 is data. A track is known by where it began: φ_t(x|x₁) = x₀, with
φ₀(x|x₁) = x. Then f(x|x₁) = −(∂_x φ)⁻¹ ∂_t φ and p_t(x|x₁) = p₀(φ)·|det ∂_x φ|: both ends are as wished, and
the prior p₀ is free. For the tracks of a ``Path``, φ = (x − α x₁)/σ, and f is its target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jacrev, jvp, vmap
from torch.nn.functional import one_hot

from danlu.flows.paths import Path
from danlu.flows.priors import Normal, Prior
from danlu.flows.shapes import rows

Tracks = Callable[[Tensor, Tensor, Tensor], Tensor]  # φ(x, x₁, t) of one row: (…), (…), () → (…)


def straight(path: Path) -> Tracks:
    """The tracks of a path without noise between its ends: φ = (x − α x₁)/σ."""

    def began(x: Tensor, data: Tensor, t: Tensor) -> Tensor:
        alpha, sigma, _ = path.scales(t)
        return (x - alpha * data) / sigma

    return began


@dataclass(frozen=True)
class Characteristics:
    """Flows along ``tracks`` from ``prior`` to data. For t below 1, where tracks meet in a data point."""

    tracks: Tracks
    prior: Prior = Normal()  # noqa: RUF009 (frozen)

    def field(self, x: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """f(x|x₁), the conditional velocity: (batch, …) for t (batch,)."""
        return vmap(self._field)(x, data, t)

    def log_density(self, x: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """ln p_t(x|x₁): (batch,)."""
        began = vmap(self.tracks)(x, data, t)
        _, grows = torch.linalg.slogdet(vmap(self._jacobian)(x, data, t))
        return self.prior.log_density(began) + grows

    def velocity(self, x: Tensor, t: Tensor, points: Tensor, masses: Tensor | None = None) -> Tensor:
        """E[f|x] of a finite set of ``points`` (n, …) with ``masses`` (n,), left out: equal: (batch, …).
        Where no track of any point passes, as beyond a uniform prior, it is that of the nearest point."""
        n = points.shape[0]
        many, times = x.repeat_interleave(n, 0), t.expand(x.shape[0]).repeat_interleave(n)
        data = points.repeat(x.shape[0], *[1] * (x.ndim - 1))
        logits = self.log_density(many, data, times).reshape(-1, n)
        logits = logits if masses is None else logits + masses.log()
        nowhere = torch.isneginf(logits).all(1, keepdim=True)
        nearest = one_hot(torch.cdist(rows(x), rows(points)).argmin(1), n).to(logits.dtype).log()
        weights = torch.softmax(torch.where(nowhere, nearest, logits), dim=1)
        fields = rows(self.field(many, data, times)).reshape(x.shape[0], n, -1)
        return torch.einsum("bn,bnd->bd", weights, fields).reshape(x.shape)

    def _jacobian(self, x: Tensor, data: Tensor, t: Tensor) -> Tensor:
        return jacrev(self.tracks)(x, data, t).reshape(x.numel(), x.numel())

    def _field(self, x: Tensor, data: Tensor, t: Tensor) -> Tensor:
        _, by_t, *_ = jvp(lambda now: self.tracks(x, data, now), (t,), (torch.ones_like(t),))
        return -torch.linalg.solve(self._jacobian(x, data, t), by_t.reshape(-1)).reshape(x.shape)
