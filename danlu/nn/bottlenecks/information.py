"""How much a latent vector says: bounds on ln p(x), and the information between x and z."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from danlu.nn.bottlenecks.gaussian import kl_to_standard


def importance_bound(log_weights: torch.Tensor) -> torch.Tensor:
    """ln (1/k)Σ w_i with w_i = p(x, z_i)/q(z_i|x) (Burda, Grosse & Salakhutdinov 2016): (k, …) → (…).

    Its expectation is below ln p(x), rises with k, and is the ELBO at k = 1; with the exact posterior it is
    ln p(x) at any k. Its gradient is that of the IWAE.
    """
    return log_weights.logsumexp(0) - math.log(len(log_weights))


class Information(NamedTuple):
    """In nats, means over a set of n examples. ``information``: I(x; z) of the set, never above ``cap`` =
    ln n: a value near it says only that there is at least as much. ``rate``: mean KL(q(z|x)‖N(0, 1)).
    ``aggregate``: KL(q(z)‖N(0, 1)) of q(z) = mean q(z|x); the rate is the sum of the other two, but for the
    noise of the draws."""

    information: float
    cap: float
    rate: float
    aggregate: float


@torch.no_grad()
def information(
    mean: torch.Tensor, log_variance: torch.Tensor, z: torch.Tensor, rows: int = 256
) -> Information:
    """Of a whole set (Hoffman & Johnson 2016). ``mean``, ``log_variance`` (n, size) of q(z|x); ``z``, a draw
    of each. Computed in float64, ``rows`` draws at a time against all n examples.

    Mean of ln q(z_i|x_i) − ln (1/n)Σ_j q(z_i|x_j): x_i itself is among the n, hence the cap.
    """
    mean, log_variance, z = mean.double(), log_variance.double(), z.double()
    precision, n = torch.exp(-log_variance), len(z)
    rate, prior = kl_to_standard(mean, log_variance).sum(-1), -0.5 * z.square().sum(-1)
    middle = mean.mean(0)  # moved to 0, where the products below lose the least
    mean, z = mean - middle, z - middle
    # −2 ln q(z|x_j) = Σ (z − μ_j)²/σ_j² + ln σ_j², less the constant, as products of two matrices
    offset = (mean.square() * precision + log_variance).sum(-1)
    marginal = torch.cat([
        (-0.5 * (part.square() @ precision.mT - 2 * part @ (mean * precision).mT + offset)).logsumexp(-1)
        for part in z.split(rows)
    ])  # fmt: skip
    own = -0.5 * ((z - mean).square() * precision + log_variance).sum(-1)
    # Own is one of the n, and rounding must not say less.
    marginal = torch.maximum(marginal, own) - math.log(n)
    return Information(
        float((own - marginal).mean()),
        math.log(n),
        float(rate.mean()),
        float((marginal - prior).mean()),
    )
