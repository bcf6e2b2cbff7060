"""What training a model asks for, in numbers that were counted elsewhere (``danlu.train.demand``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Demand:
    """A network and its training.

    ``units``: tokens of an example (1 of others), each called ``unit``; ``batch``: examples of an update;
    ``blocks``: parameters of each block, ``first`` and ``last`` those before and behind them, ``shared``
    those that both of these have (a tied embedding). ``flops``: of training on one example without
    recomputing, of which the forward pass through blocks is ``forward``; ``precision`` of products.
    ``element``, ``stored``: bytes of an activation's number and of a weight's. ``state``: bytes of the
    optimizer, and of averages, that have the parameters' shapes and are sharded like them; ``whole``: those
    that every process holds whole. ``update_flops``: of the optimizer's own products of matrices, which
    processes with sharded weights divide among them and others all make; ``dealt``: bytes of matrices that
    go to those who work on them and back, by ``deals`` collectives.

    ``activations``: bytes that each block keeps of one example for the backward pass, of which ``alike`` are
    of the stream's width and not of heads or hidden units; ``outside``: those kept outside of blocks;
    ``stream``: the input of a block; ``copies``: weights in the activations' type that are kept, by pass;
    ``logits``: bytes of the gradient of the logits. From ``parts`` examples of a pass on (None: never) the
    logits are made in parts: then ``outside_in_parts`` is kept, ``part`` bytes are there for one part of
    them, and the ends of the network are passed forward twice.
    ``heads``: what divides those of every layer (1 where one has none), ``keys``: those of keys and values.
    ``recompute``: of blocks.
    """

    unit: str
    units: int
    batch: int
    blocks: Sequence[int]
    first: int
    last: int
    shared: int
    flops: float
    forward: float
    precision: str
    element: int
    stored: int
    state: float
    whole: float
    update_flops: float
    dealt: float
    deals: int
    activations: Sequence[float]
    alike: float
    outside: float
    stream: float
    copies: float
    logits: float
    parts: int | None = None
    outside_in_parts: float = 0.0
    part: float = 0.0
    heads: int = 1
    keys: int = 1
    recompute: bool = False

    @cached_property
    def parameters(self) -> int:
        """All of them, shared ones once."""
        return sum(self.blocks) + self.first + self.last - self.shared

    @property
    def ends(self) -> float:
        """FLOPs of training on one example outside of blocks."""
        return self.flops - 3 * self.forward
