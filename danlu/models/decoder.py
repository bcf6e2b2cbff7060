"""A decoder-only transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from danlu import spec
from danlu.models.ends import Ends, Reduction
from danlu.models.stack import Stack
from danlu.nn import builds
from danlu.nn.block import BlockCache
from danlu.nn.masks import AttentionMask


@builds(spec.Decoder)
class Decoder(Ends, Stack):
    """A decoder-only transformer: token ids (batch, positions) → logits (batch, positions, vocabulary).

    Args: ``vocabulary``: number of token ids; ``context``: length of a learned table of positions that
    does not say its own; ``settings``: the fields of ``danlu.spec.Decoder``.
    """

    def __init__(self, vocabulary: int, context: int, **settings: Any) -> None:
        network = spec.Decoder(**settings)
        super().__init__(network, context, causal=True)
        self.make_ends(vocabulary, network)
        self.initialise(network.init)

    def forward(
        self,
        tokens: torch.Tensor,
        *,
        documents: torch.Tensor | None = None,
        prefix: int = 0,
        caches: Sequence[BlockCache] | None = None,
        reduction: Reduction | None = None,
    ) -> torch.Tensor:
        """Logits in float32. ``documents``: (batch, positions) integers that attention does not cross;
        ``prefix``: so many first positions see one another; ``caches``: one for each layer, extended by
        these positions; ``reduction``: what is returned in place of logits. In a stage
        (``danlu.models.stages``) that is not the first, or not the last, ``tokens``, or what is returned, is
        the stream between blocks."""
        x = self.embed(tokens).to(self.compute) if self.begins else tokens
        x = self.body(x, AttentionMask(True, prefix, documents), caches)
        return self.read(x, reduction) if self.ends else x

    def flops(self, batch: int, length: int) -> int:
        """FLOPs of the matrix products of a forward pass (a training step costs three times that)."""
        return self.body_flops(batch, length) + self.end_flops(batch * length)
