"""Finite scalar quantisation: each number of a vector is rounded to one of a few levels."""

from __future__ import annotations

import math

import torch

from danlu.nn.bottlenecks.contract import Bottled, Bottleneck
from danlu.nn.bottlenecks.estimators import straight_through
from danlu.nn.registry import builds
from danlu.spec import bottlenecks as spec

MARGIN = 1e-3  # by which tanh reaches beyond the outermost levels, so that they too are reached


@builds(spec.FSQ)
class FSQ(Bottleneck):
    """round(tanh(z + s)·h − o)/⌊L/2⌋ for each number, with L its level (Mentzer et al. 2023, appendix A.1):
    h = (L − 1)(1 + 10⁻³)/2; o = ½ for even L, else 0; s = atanh(o/h), so that z = 0 becomes 0.

    Args: ``levels``, one for each number, 3 and more.
    Shapes: z and value (…, len(levels)); codes (…, 1) = Σ digit·(product of the levels before), the first
    digit the lowest. The gradient passes through the rounding, not through tanh. No penalty, no noise.

    An odd level is symmetric: 5 → −1, −½, 0, ½, 1. An even one is not: 8 → −1, −¾, …, ¾. Margin and shift are
    those of vector-quantize-pytorch; the paper's own code has 1 − 10⁻³ and tan in place of atanh.

    >>> FSQ(levels=[3, 4])(torch.tensor([[0.0, 9.0]])).value.tolist()
    [[0.0, 0.5]]
    """

    _levels: torch.Tensor
    _places: torch.Tensor
    name = "fsq"
    groups = 1

    def __init__(self, *, levels: tuple[int, ...] = (8, 5, 5, 5)) -> None:
        super().__init__()
        self.takes = self.gives = len(levels)
        self.codes = math.prod(levels)
        places = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("_levels", torch.tensor(levels), persistent=False)
        self.register_buffer("_places", torch.tensor(places), persistent=False)

    def forward(self, z: torch.Tensor, noise: torch.Tensor | None = None) -> Bottled:
        self.check(z, noise)
        exact = torch.promote_types(z.dtype, torch.float32)
        half_width = self._levels // 2
        half = (self._levels - 1).to(exact) * ((1 + MARGIN) / 2)
        offset = (1 - self._levels % 2).to(exact) / 2
        bounded = torch.tanh(z.to(exact) + torch.atanh(offset / half)) * half - offset
        rounded = bounded.round()
        codes = ((rounded.long() + half_width) * self._places).sum(-1, keepdim=True)
        value = straight_through(rounded / half_width, bounded / half_width)
        return Bottled(value.to(z.dtype), value.new_zeros(()), codes)

    def look_up(self, codes: torch.Tensor) -> torch.Tensor:
        """The vectors of ``codes``: (…, 1) → (…, gives) float32."""
        digits = codes // self._places % self._levels
        half_width = self._levels // 2
        return (digits - half_width).float() / half_width
