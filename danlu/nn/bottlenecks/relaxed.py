"""Categories and bits that are drawn, with gradients: Gumbel-softmax, also called Concrete."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from danlu.nn.bottlenecks.contract import Bottled, Bottleneck, Noise
from danlu.nn.bottlenecks.estimators import straight_through
from danlu.nn.bottlenecks.noise import gumbel, logistic
from danlu.nn.registry import builds
from danlu.spec import bottlenecks as spec


def kl_categorical(log_p: torch.Tensor, log_q: torch.Tensor | float) -> torch.Tensor:
    """KL(p‖q) = Σ p (ln p − ln q) in nats, of categories along the last dimension: (…, n) → (…). Where p is 0
    (ln p = −∞) nothing is added."""
    p = log_p.exp()
    return (p * torch.where(p > 0, log_p - log_q, 0)).sum(-1)


def concrete_log_density(
    log_x: torch.Tensor, logits: torch.Tensor, temperature: float | torch.Tensor
) -> torch.Tensor:
    """ln of the density of a relaxed vector x on the simplex (Maddison et al. 2017, definition 1):
    Γ(n)·τⁿ⁻¹·∏ π_k x_k^(−τ−1)/(Σ π_k x_k^(−τ))ⁿ. Shapes: (…, n) both → (…).

    A KL of relaxed vectors is to be taken with this density; that of the categories is no bound for it.
    """
    n = logits.shape[-1]
    tau = torch.as_tensor(temperature, dtype=log_x.dtype, device=log_x.device)
    weights = logits - tau * log_x
    constant = math.lgamma(n) + (n - 1) * tau.log()
    return constant + (weights - log_x).sum(-1) - n * weights.logsumexp(-1)


def _estimate(estimator: str, hard: torch.Tensor, soft: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    if estimator == "soft":
        return soft
    return straight_through(hard, soft if estimator == "hard" else mean)


@builds(spec.Gumbel)
class Gumbel(Bottleneck):
    """``groups`` categories out of ``codes``: argmax(ln π + g) with Gumbel noise g is a draw from π, and
    softmax((ln π + g)/τ) its relaxation (Jang et al. 2017; Maddison et al. 2017).

    Args: ``groups``, ``codes`` of each; ``temperature`` τ; ``estimator``: ``soft`` (the relaxed vector),
    ``hard`` (one-hot, with the gradient of the relaxed vector) or ``straight-through`` (one-hot, with the
    gradient of π); ``beta``: weight of KL(π‖uniform).
    Shapes: z (…, groups·codes), logits; value the same, groups one after another; codes and kl (…, groups).
    Noise: uniform. Without noise: the most likely category, or softmax(ln π/τ).

    Hard values are exact zeros and ones. The mean of a relaxed vector is not π, but as τ → 0, where the
    variance of its gradient grows without bound.

    >>> one = Gumbel(groups=1, codes=3)
    >>> one(torch.tensor([[0.0, 2.0, 1.0]])).value.tolist()
    [[0.0, 1.0, 0.0]]
    """

    name = "gumbel"

    def __init__(
        self,
        *,
        groups: int = 8,
        codes: int = 16,
        temperature: float = 1.0,
        estimator: spec.Relaxation = "hard",
        beta: float = 0.0,
    ) -> None:
        super().__init__()
        self.groups, self.codes = groups, codes
        self.temperature, self.estimator, self.beta = temperature, estimator, beta
        self.takes = self.gives = groups * codes
        self.noise = Noise("uniform", groups * codes)

    def forward(
        self,
        z: torch.Tensor,
        noise: torch.Tensor | None = None,
        temperature: float | torch.Tensor | None = None,
    ) -> Bottled:
        """``temperature``: in place of the module's own, where a schedule lowers it."""
        self.check(z, noise)
        tau = self.temperature if temperature is None else temperature
        exact = torch.promote_types(z.dtype, torch.float32)
        log_pi = z.to(exact).unflatten(-1, (self.groups, self.codes)).log_softmax(-1)
        drawn = log_pi if noise is None else log_pi + gumbel(noise).view(log_pi.shape)
        codes = drawn.argmax(-1)
        hard = F.one_hot(codes, self.codes).to(exact)
        value = _estimate(self.estimator, hard, (drawn / tau).softmax(-1).to(exact), log_pi.exp())
        kl = kl_categorical(log_pi, -math.log(self.codes))
        return Bottled(value.flatten(-2).to(z.dtype), self.beta * kl.sum(-1).mean(), codes, kl)

    def look_up(self, codes: torch.Tensor) -> torch.Tensor:
        """The vectors of ``codes``: (…, groups) → (…, gives) float32."""
        return F.one_hot(codes, self.codes).flatten(-2).float()


@builds(spec.Binary)
class Binary(Bottleneck):
    """``size`` bits: z + l > 0 with logistic noise l is 1 with the probability σ(z), and σ((z + l)/τ) its
    relaxation (binary Concrete, Maddison et al. 2017, appendix B).

    Args: ``size``; ``temperature``, ``estimator``, ``beta`` as in ``Gumbel``.
    Shapes: z (…, size), the logits of 1; value, codes (0 or 1) and kl the same. Noise: uniform.
    """

    name = "binary"

    def __init__(
        self,
        *,
        size: int = 16,
        temperature: float = 1.0,
        estimator: spec.Relaxation = "hard",
        beta: float = 0.0,
    ) -> None:
        super().__init__()
        self.takes = self.gives = self.groups = size
        self.codes = 2
        self.temperature, self.estimator, self.beta = temperature, estimator, beta
        self.noise = Noise("uniform", size)

    def forward(
        self,
        z: torch.Tensor,
        noise: torch.Tensor | None = None,
        temperature: float | torch.Tensor | None = None,
    ) -> Bottled:
        """``temperature``: in place of the module's own."""
        self.check(z, noise)
        tau = self.temperature if temperature is None else temperature
        exact = torch.promote_types(z.dtype, torch.float32)
        logits = z.to(exact)
        drawn = logits if noise is None else logits + logistic(noise)
        codes = (drawn > 0).long()
        soft = (drawn / tau).sigmoid().to(exact)
        value = _estimate(self.estimator, codes.to(exact), soft, logits.sigmoid())
        log_pi = torch.stack((F.logsigmoid(-logits), F.logsigmoid(logits)), dim=-1)
        kl = kl_categorical(log_pi, -math.log(2))
        return Bottled(value.to(z.dtype), self.beta * kl.sum(-1).mean(), codes, kl)

    def look_up(self, codes: torch.Tensor) -> torch.Tensor:
        """The vectors of bits: (…, size) int64 → the same, float32."""
        return codes.float()
