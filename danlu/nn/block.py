"""A block: norms, a mixer and a feed-forward layer on a residual stream."""

from __future__ import annotations

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.cache import KVCache
from danlu.nn.registry import build


class Block(nn.Module):
    """x + mixer(norm(x)), then x + feed_forward(norm(x)): norms before each branch (pre-norm).

    Shapes: (batch, positions, width) → the same.
    """

    def __init__(
        self,
        width: int,
        *,
        mixer: spec.Mixer,
        feed_forward: spec.FeedForward,
        norm: spec.Norm,
        position: spec.Position,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.mixer_norm = build(norm, width)
        self.mixer = build(mixer, width, position, bias=bias)
        self.feed_forward_norm = build(norm, width)
        self.feed_forward = build(feed_forward, width, bias=bias)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(
        self, x: torch.Tensor, documents: torch.Tensor | None = None, cache: KVCache | None = None
    ) -> torch.Tensor:
        x = x + self.dropout(self.mixer(self.mixer_norm(x), documents=documents, cache=cache))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))

    def branch_ends(self) -> tuple[nn.Linear, nn.Linear]:
        """The last map of each residual branch, where initialisations act."""
        return self.mixer.out, self.feed_forward.down

    def flops(self, batch: int, length: int) -> int:
        """FLOPs of the matrix products of a forward pass."""
        return self.mixer.flops(batch, length) + self.feed_forward.flops(batch * length)
