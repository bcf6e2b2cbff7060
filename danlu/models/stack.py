"""A stack of blocks on embedded tokens: the body of every transformer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, cast

import torch
import torch.nn as nn
from torch.utils.checkpoint import checkpoint

from danlu import spec
from danlu.models.initialise import Begin, draw_deepnorm, scale_branches
from danlu.nn import Attention, Block, DepthScaled, build, prepare
from danlu.nn.attention import tiled
from danlu.nn.block import BlockCache
from danlu.nn.bottlenecks import Narrow
from danlu.nn.context_parallel import ContextParallel
from danlu.nn.masks import AttentionMask
from danlu.nn.stacked import each


class Stack(nn.Module):
    """Positions, blocks, a last norm (none after post-norm blocks, whose output is normed already).

    Args: ``network``: the specification; ``context``: of a learned table of positions that does not say its
    own; ``layers``: if other than the network's; ``cross``: whether blocks attend to a memory; ``other``: how
    many layers the other stack of an encoder-decoder has, which DeepNorm's constants ask for.

    ``here``: which of the blocks this process has, all of them unless ``danlu.models.stages`` took some away;
    ``lends_embedding``: whether it has one end of two that share one weight; ``across``: the processes that
    every sequence lies over, None: this one alone.
    """

    here: range
    lends_embedding = False
    across: ContextParallel | None = None

    blocks: Sequence[Block]  # a ModuleList, whose own type forgets what it holds

    def __init__(
        self,
        network: spec.Network,
        context: int,
        *,
        causal: bool,
        layers: int | None = None,
        cross: bool = False,
        other: int | None = None,
    ) -> None:
        super().__init__()
        self.causal, self.recompute = causal, False
        self._context = context
        self._prepared: tuple[torch.dtype, torch.device] | None = None
        if layers is not None and layers != network.layers:
            network = network.model_copy(update={"layers": layers})
        self.position: nn.Module | None = None
        shared = isinstance(network.position, spec.T5Buckets) and network.position.shared
        if network.position.acts_on == "embedding":
            self.position = build(network.position, network.width, context)
        elif shared:
            mixer = next(p.mixer for p in network.parts() if isinstance(p.mixer, spec.Attention))
            size = mixer.head_size or network.width // mixer.heads
            self.position = build(network.position, mixer.heads, size)
        self.embedding_norm = build(network.norm, network.width) if network.embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(network.dropout) if network.dropout else nn.Identity()
        residual, beta = network.residual, None
        if isinstance(residual, spec.DeepNorm):
            side: Literal["encoder", "decoder"] = "decoder" if causal else "encoder"
            alpha, beta = residual.constants(network.layers, other, side)
            residual = residual.model_copy(update={"alpha": alpha, "beta": beta})
        blocks = [
            Block(
                network.width,
                mixer=parts.mixer,
                feed_forward=parts.feed_forward,
                norm=network.norm,
                position=None if shared and parts.position == network.position else parts.position,
                placement=network.placement,
                residual=residual,
                bias=network.bias,
                dropout=network.dropout,
                cross=cast(spec.Attention, parts.mixer) if cross else None,
            )
            for parts in network.parts()
        ]
        for block, parts in zip(blocks, network.parts(), strict=True):
            alike = shared and parts.position == network.position
            if alike and self.position is not None and isinstance(block.mixer, Attention):
                block.mixer.share(self.position)
        joins = [module for block in blocks for module in block.modules() if isinstance(module, DepthScaled)]
        for join in joins:
            join.scale = len(joins) ** -0.5 if join.scale is None else join.scale
        self.beta = beta
        self.blocks = cast(Sequence[Block], nn.ModuleList(blocks))
        self.here = range(len(blocks))
        self.narrow: Narrow | None = None
        self.narrow_after = network.narrow_after
        if network.bottleneck is not None and not cross:
            self.narrow = Narrow(network.width, network.bottleneck, network.norm)
        self.norm = nn.Identity() if network.placement == "post" else build(network.norm, network.width)

    @property
    def begins(self) -> bool:
        """Whether the first block is here, and so all that comes before it."""
        return self.here.start == 0

    @property
    def ends(self) -> bool:
        """Whether the last block is here, and so all that comes after it."""
        return self.here.stop == len(self.blocks)

    def divide(self, over: ContextParallel) -> None:
        """From now on be given a stretch of each sequence, whose other stretches are in the other processes
        of ``over``. Raises ValueError for a part that cannot."""
        for block in (self.blocks[i] for i in self.here):
            block.mixer.divide(over)
        self.across = over

    def finish(self, init: spec.Init, begin: Begin, modules: Collection[nn.Module]) -> None:
        """The initial weights of the branches among ``modules``, once all their weights are drawn."""
        blocks = [self.blocks[i] for i in self.here if self.blocks[i] in modules]
        if self.beta is not None:
            draw_deepnorm(blocks, self.beta, begin)
        scale_branches(blocks, init, len(self.blocks))

    def body(
        self,
        x: torch.Tensor,
        mask: AttentionMask,
        caches: Sequence[BlockCache] | None = None,
        memory: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Embedded tokens (batch, positions, width), positions not yet added → the stream, normed; where the
        first block is not here, or the last, from or to what passes between blocks."""
        if not torch.compiler.is_compiling() and self._prepared != (x.dtype, x.device):
            prepare(self, self._context, x.dtype, x.device)  # before blocks are compiled, or run
            self._prepared = x.dtype, x.device
        if self.begins:
            if self.position is not None and hasattr(self.position, "at"):
                start = caches[0].length if caches else 0
                start = start if self.across is None else self.across.start(x.shape[1])
                at = self.position.at(start, x.shape[1])  # type: ignore[operator]
                x = each(torch.add, at, 2, x)
            x = self.dropout(self.embedding_norm(x))
        if caches is None and self.across is None:
            mask = tiled(mask, [self.blocks[i].mixer for i in self.here], x)
        for i, block in ((i, self.blocks[i]) for i in self.here):
            if self.recompute and self.training:
                x = checkpoint(block, x, mask, None, memory, use_reentrant=False)
            else:
                x = block(x, mask, caches[i] if caches else None, memory)
            if self.narrow is not None and i + 1 == self.narrow_after:
                x = self.narrow(x)
        return self.norm(x) if self.ends else x

    def caches(self, batch: int, length: int) -> list[BlockCache]:
        """Empty caches of what each block keeps, one for each layer."""
        return [block.cache(batch, length) for block in self.blocks]

    def cache_bytes(self, length: int, element: int, memory: int = 0) -> int:
        """Bytes that the caches hold for one sequence of ``length`` positions (and of ``memory`` positions to
        attend to), at ``element`` bytes a number."""
        return sum(block.cache_bytes(length, element, memory) for block in self.blocks)

    def body_flops(self, batch: int, length: int, memory: int = 0) -> int:
        """FLOPs of the matrix products of a forward pass through the blocks."""
        between = 0 if self.narrow is None else self.narrow.flops(batch * length)
        return between + sum(block.flops(batch, length, memory) for block in self.blocks)
