"""What each kind of part must offer, so that it can be used by a block and a model: base classes to write
one's own parts on.

A part is an ordinary ``nn.Module``. Its class takes what only the surroundings know (a width, …) as
positional arguments and its own settings as keyword arguments. Mixers and feed-forward layers also take the
keyword ``bias``: whether the model's linear maps have biases. Linear maps should be ``danlu.nn.Linear``: a
model draws their initial weights, and they compute in the precision of their input.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, ClassVar, Literal

import torch
import torch.nn as nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from danlu.nn.cache import InputCache
from danlu.nn.context_parallel import ContextParallel
from danlu.nn.linear import Linear
from danlu.nn.masks import AttentionMask
from danlu.nn.shares import Plan


class Mixer(nn.Module):
    """Moves information between positions: attention, or anything else in its place.

    A mixer is made as ``Class(width, position, *, bias, …)``. ``position`` is a specification or a module, or
    None. It must have ``out`` and either ``mix``, or ``forward`` where it keeps a cache of its own; the other
    methods have defaults.

    ``out``: the last linear map of the branch, on which initialisations act. ``full_precision``: whether
    FSDP2 hands it its parameters in float32, whatever the precision of the activations (a recurrence does).

    >>> class Mean(Mixer):
    ...     def __init__(self, width, position=None, *, bias=False):
    ...         super().__init__()
    ...         self.out = Linear(width, width, bias=bias)
    ...
    ...     def mix(self, x, mask):
    ...         return self.out(x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None])
    >>> Mean(8)(torch.randn(2, 5, 8)).shape, Mean(8).flops(2, 5)
    (torch.Size([2, 5, 8]), 1280)
    """

    out: Linear
    full_precision: ClassVar[bool] = False
    across: ContextParallel | None = None  # the processes that every sequence lies over

    def divide(self, over: ContextParallel) -> None:
        """From now on be given a stretch of each sequence, whose other stretches are in the other processes
        of ``over``. Raises ValueError where the mixer cannot."""
        raise ValueError(f"{type(self).__name__} cannot mix positions that lie in several processes")

    def mix(self, x: torch.Tensor, mask: AttentionMask) -> torch.Tensor:
        """(batch, positions, width) → the same, in the type of ``x``. ``mask``: what a position may see.
        Raises ValueError for a mask that the mixer cannot keep to."""
        raise NotImplementedError(f"{type(self).__name__} has neither mix(x, mask) nor its own forward")

    def forward(
        self, x: torch.Tensor, mask: AttentionMask | torch.Tensor | None = None, cache: Any = None
    ) -> torch.Tensor:
        """(batch, positions, width) → the same. ``mask`` left out: each position sees itself and those
        before it. ``cache``: made by ``self.cache``; it holds what came before the positions of ``x``, which
        are added to it."""
        mask = AttentionMask.of(mask)
        if cache is None:
            return self.mix(x, mask)
        return self.mix(cache.append(x), mask)[:, -x.shape[1] :]

    def cache(self, batch: int, length: int) -> Any:
        """An empty ``Cache`` for ``batch`` sequences of at most ``length`` positions."""
        return InputCache()

    def cache_bytes(self, length: int, element: int) -> int:
        """Bytes held for one sequence of ``length`` positions, at ``element`` bytes a number."""
        return length * self.out.out_features * element

    def value_path(self) -> list[torch.Tensor]:
        """The weights that values flow through, as views; DeepNorm scales their initial values."""
        return [self.out.weight]

    def readers(self) -> list[Linear] | None:
        """The linear maps through which alone the part reads its input, where ``out`` gives all that it
        writes: then the stream can be turned or rescaled by changing these weights. None where that is not
        so, or not known."""
        return None

    def shard(self) -> Plan | None:
        """How processes may divide the part among them (``danlu.nn.shares``); None: all compute it alike.
        Raises ValueError where it has something that cannot be divided."""
        return None

    def flops(self, batch: int, length: int) -> int:
        """FLOPs of the matrix products of a forward pass (a multiplication and an addition are two)."""
        return count_flops(self, batch, length, self.out.out_features)

    def decoding_flops(self, length: int) -> int:
        """FLOPs of the last of ``length`` positions with a cache of those before it."""
        return self.flops(1, length)


class FeedForward(nn.Module):
    """Acts on each position alone, made as ``Class(width, *, bias, …)``: ``forward`` maps (…, width) → the
    same, in the type of the input. It must have ``forward`` and ``out``."""

    @property
    def out(self) -> Linear:
        """The last linear map of the branch, on which initialisations act."""
        raise AttributeError(f"{type(self).__name__} has no out, the last map of its branch")

    def value_path(self) -> list[torch.Tensor]:
        """The weights that values flow through; DeepNorm scales their initial values."""
        return [self.out.weight]

    def readers(self) -> list[Linear] | None:
        """As a mixer's."""
        return None

    def shard(self) -> Plan | None:
        """As a mixer's."""
        return None

    def flops(self, tokens: int) -> int:
        """FLOPs of the matrix products of a forward pass over ``tokens`` positions."""
        return count_flops(self, tokens, self.out.out_features)


class Norm(nn.Module):
    """Normalises activations, made as ``Class(width, *, …)``: ``forward`` maps (…, positions, width) → the
    same, in the type of the input.

    ``across_positions``: whether the result at a position depends on other positions. A decoder refuses such
    a norm, and so does a padding mask.
    """

    across_positions: ClassVar[bool] = False


class Position(nn.Module):
    """Tells the model where a token stands, in one of the three places that the subclasses stand for."""

    acts_on: ClassVar[Literal["embedding", "heads", "scores"]]

    def prepare(self, length: int, dtype: torch.dtype, device: torch.device) -> None:
        """Make tables of ``length`` positions for activations of ``dtype`` on ``device``, where a subclass
        has any: a compiled graph would otherwise compute them at every step."""


def prepare(network: nn.Module, length: int, dtype: torch.dtype, device: torch.device) -> None:
    """``prepare`` every position in ``network``, before it is compiled: later, it would be compiled anew."""
    for module in network.children():
        if isinstance(module, Position):
            module.prepare(length, dtype, device)
        else:
            prepare(module, length, dtype, device)


def acts_on(position: Any) -> str:
    """The place where a position acts, a module or a specification: ``embedding``, ``heads``, ``scores`` or
    ``nothing`` (None too). Raises ValueError for what does not say it."""
    if position is None:
        return "nothing"
    place: str | None = getattr(position, "acts_on", None)
    if place is None:
        raise ValueError(
            f"position = {type(position).__name__} does not say where it acts; write its class on "
            "danlu.nn.EmbeddingPosition, HeadPosition or ScorePosition"
        )
    return place


class EmbeddingPosition(Position):
    """A vector for each position, added to the embedding: ``Class(width, context, *, …)``."""

    acts_on = "embedding"

    def at(self, start: int, count: int) -> torch.Tensor:
        """The vectors of positions start … start + count − 1: (count, width). Raises ValueError beyond the
        last."""
        raise NotImplementedError(f"{type(self).__name__} has no method at(start, count)")


class HeadPosition(Position):
    """Turns queries and keys, before their product: ``Class(size, *, …)`` for heads of ``size`` numbers."""

    acts_on = "heads"

    def forward(self, x: torch.Tensor, start: int = 0) -> torch.Tensor:
        """``x`` (batch, heads, positions, size), the first of which is position ``start`` → the same."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(x, start)")


class ScorePosition(Position):
    """A number added to each score of attention: ``Class(heads, size, *, …)`` for heads of ``size`` numbers.

    In place of ``bias`` a subclass may have ``products(q, k, offset)``, which stands for q kᵀ: q (batch,
    heads, T, size) at positions offset …, k (batch, heads, keys, size) at 0 … → (batch, heads, T, keys).
    ``flops(batch, length)``, where it has one, counts what it adds to the matrix products.
    """

    acts_on = "scores"

    def bias(self, q: torch.Tensor, keys: int, offset: int = 0, causal: bool = True) -> torch.Tensor:
        """What is added to scale · q·k, in the type of ``q``, (heads, T, keys) or (batch, heads, T, keys).
        Queries ``q`` (batch, heads, T, size): the i-th at position offset + i; keys at 0 … keys − 1."""
        raise NotImplementedError(f"{type(self).__name__} has no bias(q, keys, offset, causal)")


class Residual(nn.Module):
    """Joins a branch to the stream, made as ``Class(width, *, …)``."""

    def forward(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        """Stream and branch, (…, width) both and of one type → the stream after it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(x, branch)")


def refuse_padding(network: nn.Module) -> None:
    """Raises ValueError where a norm of ``network`` is over positions, of which padding would be some."""
    for module in network.modules():
        if getattr(module, "across_positions", False):
            raise ValueError(
                f"mask: {type(module).__name__} is a norm over positions and would count padding among them; "
                "use a norm of single positions (rms, layer, group), or sequences of one length"
            )


Activation = Callable[[torch.Tensor], torch.Tensor]  # elementwise: (…) → the same


@torch.no_grad()
def count_flops(part: nn.Module, *shape: int) -> int:
    """FLOPs of the matrix products of ``part`` on an input of ``shape``, by PyTorch's counter. Nothing is
    computed: the pass runs on the meta device."""
    held = chain(part.named_parameters(), part.named_buffers())
    outline = {name: torch.empty(t.shape, dtype=t.dtype, device="meta") for name, t in held}
    training = part.training
    part.eval()  # what is gathered in training is not to be outlines
    try:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            functional_call(part, outline, (torch.empty(shape),))
    finally:
        part.train(training)
    return int(counter.get_total_flops())
