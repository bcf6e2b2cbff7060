"""An encoder-only transformer."""

from __future__ import annotations

from typing import Any

import torch

from danlu import spec
from danlu.models.ends import Ends, Reduction
from danlu.models.stack import Stack
from danlu.nn import Embedding, builds
from danlu.nn.contracts import refuse_padding
from danlu.nn.masks import AttentionMask


@builds(spec.Encoder)
class Encoder(Ends, Stack):
    """An encoder-only transformer (Devlin et al. 2019): token ids (batch, positions) → logits (batch,
    positions, vocabulary), every position seeing every other.

    Args as ``danlu.models.Decoder``'s, ``settings`` the fields of ``danlu.spec.Encoder``.
    """

    def __init__(self, vocabulary: int, context: int, **settings: Any) -> None:
        network = spec.Encoder(**settings)
        super().__init__(network, context, causal=False)
        self.segments = Embedding(network.segments, network.width) if network.segments else None
        self.make_ends(vocabulary, network)
        self.initialise(network.init)

    def forward(
        self,
        tokens: torch.Tensor,
        *,
        documents: torch.Tensor | None = None,
        segments: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        reduction: Reduction | None = None,
    ) -> torch.Tensor:
        """Logits in float32. ``documents``: (batch, positions) integers that attention does not cross;
        ``segments``: (batch, positions) kinds of token (left out: all of the first); ``mask``: bool (batch,
        positions), True for text, False for padding (``danlu.nn.AttentionMask.padded``); ``reduction``:
        what is returned in place of logits."""
        if mask is not None:
            refuse_padding(self)
        x = self.embed(tokens)
        if self.segments is not None:
            x = x + (self.segments.weight[0] if segments is None else self.segments(segments))
        seen = AttentionMask(False, 0, documents).padded(mask)
        return self.read(self.body(x.to(self.compute), seen), reduction)

    def flops(self, batch: int, length: int) -> int:
        """FLOPs of the matrix products of a forward pass (a training step costs three times that)."""
        return self.body_flops(batch, length) + self.end_flops(batch * length)
