"""A decoder-only transformer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn as nn
from torch.utils.checkpoint import checkpoint

from danlu import spec
from danlu.nn import Block, Embedding, KVCache, Linear, build, builds
from danlu.nn.positions import Learned


@builds(spec.Decoder)
class Decoder(nn.Module):
    """A decoder-only transformer: token ids (batch, positions) → logits (batch, positions, vocabulary).

    Args: ``vocabulary``: number of token ids; ``context``: length of a learned table of positions that
    does not say its own; the rest as in ``danlu.spec.Decoder``. Parameters are float32; activations have
    the type of ``compute`` (set it to bfloat16 or float16 for speed; see ``danlu.train.precision``).
    """

    blocks: Sequence[Block]  # a ModuleList, whose own type forgets what it holds

    def __init__(
        self,
        vocabulary: int,
        context: int,
        *,
        layers: int,
        width: int,
        mixer: spec.Mixer,
        feed_forward: spec.FeedForward,
        norm: spec.Norm,
        position: spec.Position,
        embedding_norm: bool = False,
        bias: bool = False,
        tied: bool = True,
        dropout: float = 0.0,
        softcap: float | None = None,
        init: spec.Init | None = None,
    ) -> None:
        super().__init__()
        self.compute = torch.float32
        self.recompute = False
        self.softcap = softcap
        self.embedding = Embedding(vocabulary, width)
        self.position: Learned | None = None
        if isinstance(position, spec.Learned):
            self.position = Learned(width, length=position.length or context)
        self.embedding_norm = build(norm, width) if embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        blocks = [
            Block(
                width,
                mixer=mixer,
                feed_forward=feed_forward,
                norm=norm,
                position=position,
                bias=bias,
                dropout=dropout,
            )
            for _ in range(layers)
        ]
        self.blocks = cast(Sequence[Block], nn.ModuleList(blocks))
        self.norm = build(norm, width)
        self.readout = Linear(width, vocabulary, bias=False)
        if tied:
            self.readout.weight = self.embedding.weight
        self.initialise(init or spec.Init())

    @torch.no_grad()
    def initialise(self, init: spec.Init) -> None:
        """Draw every weight from torch's global generator, in the order of the modules."""
        for module in self.modules():
            if isinstance(module, Linear) and module is not self.readout:
                nn.init.normal_(module.weight, std=init.std or module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=init.embedding)
        if self.readout.weight is not self.embedding.weight:
            std = init.std or self.readout.in_features**-0.5
            nn.init.normal_(self.readout.weight, std=std if init.readout is None else init.readout)
        factor = {"same": 1.0, "depth": 1 / math.sqrt(2 * len(self.blocks)), "zero": 0.0}[init.branch]
        for block in self.blocks:
            for end in block.branch_ends():
                end.weight.mul_(factor)

    def forward(
        self,
        tokens: torch.Tensor,
        *,
        documents: torch.Tensor | None = None,
        caches: list[KVCache] | None = None,
    ) -> torch.Tensor:
        """Logits in float32. ``documents``: (batch, positions) integers that attention does not cross;
        ``caches``: one for each layer, extended by these positions."""
        x = self.embedding(tokens)
        if self.position is not None:
            x = x + self.position.at(caches[0].length if caches else 0, tokens.shape[1])
        x = self.dropout(self.embedding_norm(x.to(self.compute)))
        for i, block in enumerate(self.blocks):
            if self.recompute and self.training:
                x = checkpoint(block, x, documents, use_reentrant=False)
            else:
                x = block(x, documents, caches[i] if caches else None)
        logits = self.readout(self.norm(x)).float()
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    def caches(self, batch: int, length: int) -> list[KVCache]:
        """Empty caches of keys and values, one for each layer."""
        return [block.mixer.cache(batch, length) for block in self.blocks]

    def flops(self, batch: int, length: int) -> int:
        """FLOPs of the matrix products of a forward pass (a training step costs three times that)."""
        blocks = sum(block.flops(batch, length) for block in self.blocks)
        return blocks + self.readout.flops(batch * length)
