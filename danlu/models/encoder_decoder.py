"""An encoder and a decoder that attends to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
import torch.nn as nn

from danlu import spec
from danlu.models.ends import Ends, Reduction
from danlu.models.initialise import Begin
from danlu.models.stack import Stack
from danlu.nn import Block, builds
from danlu.nn.block import BlockCache
from danlu.nn.masks import AttentionMask


@builds(spec.EncoderDecoder)
class EncoderDecoder(Ends):
    """An encoder-decoder (Vaswani et al. 2017; Raffel et al. 2020): token ids of the decoder (batch, T) and
    of the encoder (batch, S) → logits (batch, T, vocabulary).

    Args as ``danlu.models.Decoder``'s, ``settings`` the fields of ``danlu.spec.EncoderDecoder``.
    """

    def __init__(self, vocabulary: int, context: int, **settings: Any) -> None:
        super().__init__()
        network = spec.EncoderDecoder(**settings)
        depth = network.encoder_layers or network.layers
        self.encoder = Stack(network, context, causal=False, layers=depth, other=network.layers)
        self.decoder = Stack(network, context, causal=True, cross=True, other=depth)
        self.make_ends(vocabulary, network)
        self.initialise(network.init)

    def finish(self, init: spec.Init, begin: Begin, modules: Collection[nn.Module]) -> None:
        """The initial weights of the branches of both stacks, as far as they are among ``modules``."""
        self.encoder.finish(init, begin, modules)
        self.decoder.finish(init, begin, modules)

    @property
    def blocks(self) -> list[Block]:
        """The blocks of both stacks."""
        return [*self.encoder.blocks, *self.decoder.blocks]

    @property
    def recompute(self) -> bool:
        """Whether blocks are run again in the backward pass instead of keeping their activations."""
        return self.decoder.recompute

    @recompute.setter
    def recompute(self, on: bool) -> None:
        self.encoder.recompute = self.decoder.recompute = on

    def encode(self, tokens: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
        """The memory (batch, S, width) of the encoder's tokens (batch, S)."""
        return self.encoder.body(self.embed(tokens).to(self.compute), AttentionMask(False, 0, documents))

    def forward(
        self,
        tokens: torch.Tensor,
        *,
        encoder_tokens: torch.Tensor | None = None,
        memory: torch.Tensor | None = None,
        caches: Sequence[BlockCache] | None = None,
        reduction: Reduction | None = None,
    ) -> torch.Tensor:
        """Logits in float32, from the encoder's tokens or from the ``memory`` that ``encode`` made of them;
        with ``caches`` that have seen the memory, from neither; ``reduction``: what is returned in their
        place."""
        if memory is None and encoder_tokens is not None:
            memory = self.encode(encoder_tokens)
        x = self.embed(tokens).to(self.compute)
        return self.read(self.decoder.body(x, AttentionMask(), caches, memory), reduction)

    def caches(self, batch: int, length: int) -> list[BlockCache]:
        """Empty caches of what each block of the decoder keeps, one for each layer."""
        return self.decoder.caches(batch, length)

    def cache_bytes(self, length: int, element: int, memory: int = 0) -> int:
        """Bytes that the decoder's caches hold for one sequence of ``length`` positions and a memory of
        ``memory``, at ``element`` bytes a number."""
        return self.decoder.cache_bytes(length, element, memory)

    def flops(self, batch: int, length: int, encoder_length: int | None = None) -> int:
        """FLOPs of the matrix products of a forward pass, of ``encoder_length`` positions (left out: as many
        as the decoder's) in the encoder."""
        memory = length if encoder_length is None else encoder_length
        blocks = self.encoder.body_flops(batch, memory) + self.decoder.body_flops(batch, length, memory)
        return blocks + self.end_flops(batch * length)
