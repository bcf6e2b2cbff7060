"""Batch norm whose training is brought close to its evaluation."""

from __future__ import annotations

from typing import Literal

import torch

from danlu import spec
from danlu.nn.norms import BatchNorm
from danlu.nn.registry import builds


@builds(spec.BatchRenorm)
class BatchRenorm(BatchNorm):
    """Batch renorm (Ioffe 2017, arXiv:1702.03275, algorithm 1): in training a · (r · (x − μ_B)/σ_B + d) + b
    with r = σ_B/σ clipped to [1/R, R] and d = (μ_B − μ)/σ clipped to [−D, D], both without gradients, σ² the
    variance + ε. Unclipped, that is (x − μ)/σ, which evaluation computes from the running averages.

    μ and σ² are ``BatchNorm``'s averages as they stand before this batch (the paper averages σ). ``updates``,
    an int64 buffer, counts calls of ``after_update``. R = 1 and D = 0 up to update ``begin``; then they grow
    in equal parts, to ``r_max`` at update ``r_by`` and to ``d_max`` at ``d_by`` (section 4).

    Args: as of ``BatchNorm``, without frozen statistics; ``r_max`` ≥ 1; ``d_max`` ≥ 0; ``begin``, ``r_by``,
    ``d_by`` in updates. Shapes: (…, width) → (…, width), in the type of the input. Raises ValueError in
    training for a single row.
    """

    updates: torch.Tensor

    def __init__(
        self,
        width: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.01,
        statistics: Literal["batch", "synchronised"] = "batch",
        gain: bool = True,
        bias: bool = True,
        r_max: float = 3.0,
        d_max: float = 5.0,
        begin: int = 5_000,
        r_by: int = 40_000,
        d_by: int = 25_000,
    ) -> None:
        super().__init__(width, eps=eps, momentum=momentum, statistics=statistics, gain=gain, bias=bias)
        self.r_max, self.d_max = r_max, d_max
        self.begin, self.r_by, self.d_by = begin, r_by, d_by
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """R and D of the update at hand, float32 without dimensions."""
        r_share, d_share = self._share(self.r_by), self._share(self.d_by)
        return 1 + (self.r_max - 1) * r_share, self.d_max * d_share

    def _share(self, by: int) -> torch.Tensor:
        if by == self.begin:
            return (self.updates >= by).float()
        return ((self.updates - self.begin) / (by - self.begin)).clamp(0, 1)

    def by_batch(self, x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            highest, farthest = (bound.to(x.dtype) for bound in self.bounds())
            scale = torch.rsqrt(self.variance.to(x.dtype) + self.eps)
            r = ((variance + self.eps).sqrt() * scale).clamp(1 / highest, highest)
            d = ((mean - self.mean.to(x.dtype)) * scale).clamp(-farthest, farthest)
        return super().by_batch(x, mean, variance) * r + d

    @torch.no_grad()
    def after_update(self) -> None:
        """Count an update, by which the bounds are widened."""
        self.updates += 1
