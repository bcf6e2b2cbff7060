"""A diagonal Gaussian in the middle: the latent vector of a VAE, and the information bottleneck."""

from __future__ import annotations

import torch

from danlu.nn.bottlenecks.contract import Bottled, Bottleneck, Noise
from danlu.nn.registry import builds
from danlu.spec import bottlenecks as spec


def kl_to_standard(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(N(μ, σ²)‖N(0, 1)) = ½(μ² + σ² − 1 − ln σ²) in nats of each number, in the shape of both."""
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance)


def kl_between(
    mean: torch.Tensor, log_variance: torch.Tensor, to_mean: torch.Tensor, to_log_variance: torch.Tensor
) -> torch.Tensor:
    """KL(N(μ₁, σ₁²)‖N(μ₂, σ₂²)) = ½(ln σ₂²/σ₁² + (σ₁² + (μ₁ − μ₂)²)/σ₂² − 1) in nats of each number."""
    ratio = log_variance - to_log_variance
    return 0.5 * (torch.expm1(ratio) - ratio + (mean - to_mean).square() * torch.exp(-to_log_variance))


def paid(kl: torch.Tensor, free_nats: float = 0.0) -> torch.Tensor:
    """Σ_j max(λ, mean over vectors of KL_j): (…, size) → () (free bits, Kingma et al. 2016). A dimension
    below λ has no gradient. With λ > 0 this is not the mean over the parts of a batch."""
    each = kl.reshape(-1, kl.shape[-1]).mean(0)
    return (each.clamp(min=free_nats) if free_nats else each).sum()


@builds(spec.Gaussian)
class Gaussian(Bottleneck):
    """z = (μ, ln σ²) → μ + σ·noise (Kingma & Welling 2014), without noise μ.

    Args: ``size``; ``beta``, the weight of ``paid(kl, free_nats)``, which is the penalty. With a
    reconstruction this is a β-VAE; with −ln q(y|value) the variational information bottleneck (Alemi et al.
    2017), whose rate, the sum of ``kl``, exceeds I(X; Z) by KL(p(z)‖N(0, 1)).
    Shapes: z (…, 2·size), means first; value and kl (…, size); no codes. Noise: normal.

    The loss of an example sums over what is reconstructed and over ``size``, and is averaged over examples: a
    mean over numbers divides β by their count.

    >>> Gaussian(size=2)(torch.tensor([[1.0, 0.0, 0.0, 0.0]])).kl.tolist()
    [[0.5, 0.0]]
    """

    name = "gaussian"

    def __init__(self, *, size: int = 16, beta: float = 1.0, free_nats: float = 0.0) -> None:
        super().__init__()
        self.takes, self.gives = 2 * size, size
        self.beta, self.free_nats = beta, free_nats
        self.noise = Noise("normal", size)
        self.additive = not free_nats

    def forward(self, z: torch.Tensor, noise: torch.Tensor | None = None) -> Bottled:
        self.check(z, noise)
        exact = torch.promote_types(z.dtype, torch.float32)
        mean, log_variance = z.to(exact).chunk(2, dim=-1)
        value = mean if noise is None else mean + torch.exp(0.5 * log_variance) * noise.to(exact)
        kl = kl_to_standard(mean, log_variance)
        return Bottled(value.to(z.dtype), self.beta * paid(kl, self.free_nats), kl=kl)
