"""Look-up-free quantisation: the signs of a vector, with entropies that keep them sure and varied."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from danlu.nn import safe
from danlu.nn.bottlenecks.contract import Bottled, Bottleneck
from danlu.nn.bottlenecks.estimators import straight_through
from danlu.nn.registry import builds
from danlu.spec import bottlenecks as spec


def entropy_of_each(z: torch.Tensor, temperature: float) -> torch.Tensor:
    """The entropy in nats of the softmax over all codes of −‖z − code‖²/``temperature``: (…, size) → (…).

    The bits are independent, each 1 with the probability σ(4z/``temperature``), so that no table of 2^size
    codes is needed."""
    a = (4 / temperature) * z.abs()
    return (F.softplus(-a) + a * torch.sigmoid(-a)).sum(-1)


def entropy_of_mean(z: torch.Tensor, temperature: float, group: int) -> torch.Tensor:
    """The entropy in nats of the mean over vectors of that softmax: (rows, size) → (). Exact within groups of
    ``group`` bits, and summed over them, which is at least the whole: tables have rows·2^group numbers."""
    total = z.new_zeros(())
    for part in z.split(group, dim=-1):
        logit = (4 / temperature) * part
        table = z.new_ones(len(z), 1)
        for one in torch.stack((-logit, logit), dim=-1).sigmoid().unbind(-2):
            table = (table[:, :, None] * one[:, None, :]).flatten(1)
        mean = table.mean(0)
        total = total - (mean * safe.log(mean)).sum()  # most codes are at 0 exactly
    return total


@builds(spec.LFQ)
class LFQ(Bottleneck):
    """The signs of z, 1 where it is above 0, else −1 (Yu et al. 2024, MAGVIT-v2, section 3.1), with the
    gradient straight through.

    Args: ``size``: bits; penalty ``entropy``·(E H(p) − ``diversity``·H(E p)) + ``commitment``·‖z − sign z‖²,
    summed over bits; p: the softmax over codes at ``temperature``; ``group``: bits over which H(E p) is
    exact.
    Shapes: z and value (…, size); codes (…, 1), the first bit the highest. No noise.

    H(E p) is an entropy of the mean over the batch: not the mean over its parts (``additive`` is False).
    """

    name = "lfq"
    groups = 1

    def __init__(
        self,
        *,
        size: int = 10,
        entropy: float = 0.1,
        diversity: float = 1.0,
        temperature: float = 0.01,
        commitment: float = 0.25,
        group: int = 10,
    ) -> None:
        super().__init__()
        self.takes = self.gives = size
        self.codes = 2**size
        self.entropy, self.diversity, self.temperature = entropy, diversity, temperature
        self.commitment, self.group = commitment, group
        self.additive = not entropy * diversity

    def forward(self, z: torch.Tensor, noise: torch.Tensor | None = None) -> Bottled:
        self.check(z, noise)
        x = z.to(torch.promote_types(z.dtype, torch.float32))
        up = x.detach() > 0
        signs = 2 * up.to(x.dtype) - 1
        codes = (up.long() << self._shifts(z.device)).sum(-1, keepdim=True)
        penalty = self.commitment * (x - signs).square().sum(-1).mean()
        if self.entropy:
            rows = x.reshape(-1, self.takes)
            off = entropy_of_each(rows, self.temperature).mean()
            if self.diversity:
                off = off - self.diversity * entropy_of_mean(rows, self.temperature, self.group)
            penalty = penalty + self.entropy * off
        return Bottled(straight_through(signs, x).to(z.dtype), penalty, codes)

    def look_up(self, codes: torch.Tensor) -> torch.Tensor:
        """The vectors of ``codes``: (…, 1) → (…, size) float32."""
        return 2 * (codes >> self._shifts(codes.device) & 1).float() - 1

    def _shifts(self, device: torch.device) -> torch.Tensor:
        return torch.arange(self.takes - 1, -1, -1, device=device)
