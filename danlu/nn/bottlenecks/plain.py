"""No bottleneck but a narrow place: what others are compared with."""

from __future__ import annotations

import torch

from danlu.nn.bottlenecks.contract import Bottled, Bottleneck
from danlu.nn.registry import builds
from danlu.spec import bottlenecks as spec


@builds(spec.Plain)
class Plain(Bottleneck):
    """z → z.

    Args: ``size``. Shapes: z and value (…, size); no codes, no noise, no penalty.
    """

    name = "plain"

    def __init__(self, *, size: int = 16) -> None:
        super().__init__()
        self.takes = self.gives = size

    def forward(self, z: torch.Tensor, noise: torch.Tensor | None = None) -> Bottled:
        self.check(z, noise)
        return Bottled(z, z.new_zeros((), dtype=torch.promote_types(z.dtype, torch.float32)))
