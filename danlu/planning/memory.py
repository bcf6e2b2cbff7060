"""Bytes that each device holds at the peak of an update: what is counted, and an allowance for the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

from danlu.planning.demand import Demand
from danlu.planning.layout import Layout

# Of the driver, of libraries and NCCL's buffers, and what the allocator cannot use: assumed, not counted.
CONTEXT = 1.5e9
FRAGMENTS = 0.05  # of what is counted


@dataclass(frozen=True)
class Memory:
    """Bytes by what they are, on the device that holds the most. ``gathered``: whole weights and gradients of
    the units at work; ``copies``: of weights in the activations' type. ``allowance``: an
    assumption."""

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    copies: float
    activations: float
    logits: float

    @property
    def counted(self) -> float:
        """All but the allowance."""
        return (
            self.weights + self.gradients + self.optimizer + self.gathered + self.copies
            + self.activations + self.logits
        )  # fmt: skip

    @property
    def allowance(self) -> float:
        """For what is not counted."""
        return CONTEXT + FRAGMENTS * self.counted

    @property
    def total(self) -> float:
        """With the allowance."""
        return self.counted + self.allowance


def stage(demand: Demand, layout: Layout, which: int) -> tuple[list[int], int]:
    """The numbers of a stage's blocks, as equally many as can be, and the parameters at the ends that it has
    beside them (of ends that share parameters both have all)."""
    count, stages = len(demand.blocks), layout.pipeline
    start, end = (which * count // stages, (which + 1) * count // stages)
    if stages == 1:
        return list(range(count)), demand.first + demand.last - demand.shared
    ends = (demand.first if which == 0 else 0) + (demand.last if which == stages - 1 else 0)
    return list(range(start, end)), ends


def memory(demand: Demand, layout: Layout) -> Memory:
    """What the fullest device holds. Raises SpecError where the batch cannot be divided."""
    passes = layout.passes(demand.batch)
    found = [_stage(demand, layout, which, passes) for which in {0, layout.pipeline - 1}]
    return max(found, key=lambda one: one.counted)


def _stage(demand: Demand, layout: Layout, which: int, passes: int) -> Memory:
    blocks, ends = stage(demand, layout, which)
    last = which == layout.pipeline - 1
    n, largest = sum(demand.blocks[i] for i in blocks) + ends, max(demand.blocks[i] for i in blocks)
    share = n / demand.parameters
    apart = layout.tensor if layout.split else 1  # of a matrix, what a device gathers
    if layout.sharded:
        unit = max(largest, ends) / apart
        # The ends stay gathered, two blocks are on their way; a unit's gradients whole, and again in float32.
        # PyTorch's stages keep what a backward pass has gathered until the next forward pass, or the end.
        whole = n if layout.pipeline > 1 else ends + 2 * largest
        gathered = demand.element * whole / apart + (demand.element + 4) * unit
        if passes > 1 and layout.held:
            gathered += 4 * n / apart
        copies = 0.0
    else:
        gathered = 0.0  # gradients lie in DDP's buckets, and are not held beside them
        copies = demand.copies * share / layout.tensor
    in_flight = min(layout.pipeline - which, passes)  # one forward, one backward: passes that wait
    inner = [divided(demand.activations[i], demand.alike, layout) for i in blocks]
    if demand.recompute:
        kept = in_flight * demand.stream * len(blocks) / layout.context + max(inner)
    else:
        kept = in_flight * sum(inner)
    rows = layout.rows / (layout.context * layout.tensor)  # a loss is computed where its positions are
    if layout.in_parts(demand):
        outside, logits = rows * demand.outside_in_parts, demand.part
    else:
        outside, logits = rows * demand.outside, rows * demand.logits
    return Memory(
        weights=demand.stored * n / layout.shards,
        gradients=demand.stored * n / layout.shards,
        optimizer=demand.state * share / layout.shards + demand.whole * share,
        gathered=gathered,
        copies=copies,
        activations=layout.rows * kept + (outside if last else 0.0),
        logits=logits if last else 0.0,
    )


def divided(activations: float, alike: float, layout: Layout) -> float:
    """Of a block's activations, what a device keeps: heads and hidden units are divided by ``tensor``, the
    stream that goes in and out is not (Korthikanti et al. 2022, arXiv:2205.05198, eq. 2)."""
    alike = min(alike, activations)
    return (alike + (activations - alike) / layout.tensor) / layout.context


def fewest(demand: Demand, room: float) -> int:
    """The fewest devices of ``room`` bytes that weights, gradients and state fit into: a bound from below."""
    held = 2 * demand.stored * demand.parameters + demand.state
    return max(1, math.ceil(held / max(1.0, room - demand.whole - CONTEXT)))
