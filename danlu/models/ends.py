"""The two ends of a transformer: the embedding of tokens, and the readout."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, cast

import torch
import torch.nn as nn
from torch.utils.checkpoint import checkpoint

from danlu import spec
from danlu.models.initialise import draw, streams
from danlu.nn import Embedding, Linear, build
from danlu.nn.feed_forwards import activation_of
from danlu.nn.shares import Share


class Reduction(NamedTuple):
    """What is made of logits some positions at a time, so that never all of them are there.

    ``of``: logits (n, vocabulary), and as many numbers of each tensor of ``beside`` (batch, positions), to a
    tensor; what the network returns is the sum of these. ``rows``: positions at a time. Logits are made again
    for the backward pass.
    """

    of: Callable[..., torch.Tensor]
    beside: tuple[torch.Tensor, ...]
    rows: int

    def over(self, read: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Of the stream ``x`` (batch, positions, width), which ``read`` makes logits of."""

        def one(some: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
            return self.of(read(some), *given)

        parts = list(
            zip(
                x.flatten(0, 1).split(self.rows),
                *(t.flatten().split(self.rows) for t in self.beside),
                strict=True,
            )
        )
        if x.is_meta:  # without numbers one part stands for all: of a large batch there are thousands
            parts = parts[:1]
        again = torch.is_grad_enabled()
        made = [
            checkpoint(one, *part, use_reentrant=False, preserve_rng_state=False) if again else one(*part)
            for part in parts
        ]
        return torch.stack(made).sum(0)


class Ends(nn.Module):
    """Token ids → vectors, the stream → logits; a base class of the models.

    Parameters are float32; activations have the type of ``compute`` (set it to bfloat16 or float16 for speed;
    see ``danlu.train.precision``). ``width_multiplier``: μP's m, 1 in the standard parametrisation.
    ``share``: of the positions that ``read`` takes, where processes divide them (None: it takes all).
    """

    share: Share | None = None

    def __init__(self, *stack: Any, **settings: Any) -> None:
        # Before any module takes from torch's generator: what a network starts as, besides its own parts,
        # does not depend on its parts.
        seed = int(torch.randint(2**62, (), device="cpu"))
        super().__init__(*stack, **settings)
        self._seed = seed

    def make_ends(self, vocabulary: int, network: spec.Network, embedding: Linear | None = None) -> None:
        """Add the modules: embedding (of tokens, if none is given), projections, what stands before the
        readout, the readout of ``vocabulary`` outputs."""
        self.compute = torch.float32
        self.softcap, self.logit_scale = network.softcap, network.logit_scale
        self.embedding_scale = network.embedding_scale
        self.width_multiplier = network.width_multiplier
        width, narrow = network.width, network.embedding_width
        self.embedding: Embedding | Linear = embedding or Embedding(vocabulary, narrow or width)
        self.embedding_projection = self.readout_projection = self.transform = self.transform_norm = None
        if narrow is not None:
            self.embedding_projection = Linear(narrow, width, bias=False)
            self.readout_projection = Linear(width, narrow, bias=False)
        activation = getattr(network, "transform", None)
        if activation is not None:
            self.transform = Linear(width, width, bias=network.bias)
            self.transform_norm = build(network.norm, width)
            self.activation = activation_of(activation)
        self.readout = Linear(narrow or width, vocabulary, bias=network.readout_bias)
        if network.tied:
            self.readout.weight = self.embedding.weight

    def initialise(self, init: spec.Init) -> None:
        """Draw every weight: each module from a stream of its own, all of which follow from the state of
        torch's global generator when the model was made."""
        self._init = init
        self.redraw(list(self.modules()))

    def redraw(self, modules: Collection[nn.Module]) -> None:
        """Draw the initial weights of ``modules``, whole blocks and modules outside of blocks, once more."""
        with streams(self, self._seed) as begin:
            draw(modules, self._init, self.readout, begin, self.width_multiplier, self.embedding)
            if self.readout in modules:
                begin(self.readout)
                self._draw_readout(self._init)
            cast(Any, self).finish(self._init, begin, modules)  # of the stacks, each in its own way

    @torch.no_grad()
    def _draw_readout(self, init: spec.Init) -> None:
        """The initial weights of a readout not tied to the embedding; in μP as at the base's width."""
        tied = self.embedding is not None and self.readout.weight is self.embedding.weight  # none in a stage
        if not tied:
            std = init.std or (self.readout.in_features / self.width_multiplier) ** -0.5
            nn.init.normal_(self.readout.weight, std=std if init.readout is None else init.readout)
        if self.readout.bias is not None:
            nn.init.zeros_(self.readout.bias)

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, positions) → (batch, positions, width)."""
        x = self.embedding(tokens)
        if self.embedding_scale is not None:
            x = x * self.embedding_scale
        return x if self.embedding_projection is None else self.embedding_projection(x)

    def read(self, x: torch.Tensor, reduction: Reduction | None = None) -> torch.Tensor:
        """(batch, positions, width) → logits (batch, positions, vocabulary), in float32 (or float64); or what
        ``reduction`` makes of them."""
        if self.share is not None:
            x = self.share.part(x, 1)
        return self._logits(x) if reduction is None else reduction.over(self._logits, x)

    @property
    def reads_singly(self) -> bool:
        """Whether it makes the logits of all positions itself, each without the others."""
        return self.share is None and not getattr(self.transform_norm, "across_positions", False)

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        if self.transform is not None and self.transform_norm is not None:
            x = self.transform_norm(self.activation(self.transform(x)))
        if self.readout_projection is not None:
            x = self.readout_projection(x)
        if self.width_multiplier != 1:  # before the readout, whose bias is not divided
            x = x / self.width_multiplier
        logits = self.readout(x)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self.logit_scale is not None:
            logits = logits * self.logit_scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    def end_flops(self, tokens: int) -> int:
        """FLOPs of the matrix products at both ends."""
        maps = (self.embedding_projection, self.transform, self.readout_projection, self.readout)
        return sum(end.flops(tokens) for end in maps if end is not None)
