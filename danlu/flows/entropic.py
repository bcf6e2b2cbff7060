"""Pairs by the entropic plan: between the assignment of least distances and pairs as they come."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.files.errors import DanluError
from danlu.flows.couplings import Coupling, squared_distances

ROUNDS = 2000
OFF = 1e-3  # of the mass: how far the sums of the columns may be from even


class NoPlanError(DanluError, ValueError):
    """A plan that was not found: what a run ends with, in a sentence."""


@dataclass(frozen=True)
class Entropic(Coupling):
    """Each row of noise goes to a row of data that is drawn by the plan P of the batch with the least
    ⟨P, ‖x₀ − x₁‖²⟩ − ``epsilon`` H(P). With ``epsilon`` = 2σ² and the path ``Bridge`` of σ it is a
    Schrödinger bridge (Tong et al. 2023, section 3.3). ε → 0 is ``OptimalTransport``, ε → ∞ draws any row. A
    row of data may be drawn several times or never, once on average."""

    draws = True
    epsilon: float = 2.0

    def order(self, noise: Tensor, data: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Which row of data each row of noise draws by ``uniform`` (batch,) in [0, 1): (batch,) int64. Raises
        ValueError without it."""
        if uniform is None:
            raise ValueError("the coupling Entropic draws; give it a uniform number for each row")
        reaches = sinkhorn(squared_distances(noise, data), self.epsilon).softmax(1).cumsum(1)
        drawn = uniform.detach().cpu().double()[:, None] * reaches[:, -1:]
        return torch.searchsorted(reaches, drawn, right=True).clamp(max=len(data) - 1)[:, 0]


def sinkhorn(cost: Tensor, epsilon: float, off: float = OFF) -> Tensor:
    """ln P of the plan P (n, m) of least ⟨P, ``cost``⟩ − ``epsilon`` H(P) with rows that sum to 1/n and
    columns to 1/m (Cuturi 2013), in logarithms so that nothing underflows; the columns to ``off`` in total.
    Raises ``NoPlanError`` where ``ROUNDS`` do not suffice."""
    n, m = cost.shape
    kernel = -cost / epsilon
    across = -kernel.logsumexp(1) - math.log(n)
    for _ in range(ROUNDS):
        down = -(kernel + across[:, None]).logsumexp(0) - math.log(m)
        before, across = across, -(kernel + down).logsumexp(1) - math.log(n)
        if torch.expm1(before - across).abs().mean() < off:
            return kernel + across[:, None] + down
    raise NoPlanError(
        f"epsilon = {epsilon:g}: the entropic plan is not found in {ROUNDS} rounds; raise epsilon, or take "
        "the coupling ot, which is its limit"
    )
