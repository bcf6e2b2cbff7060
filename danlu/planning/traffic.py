"""Bytes that a device sends in an update, by kind of collective, and their seconds on given links.

By the ring: of S bytes over n devices an all-gather or a reduce-scatter has each of them send S(n − 1)/n, an
all-reduce, which is both, twice that (Patarasuk & Yuan 2009, theorem 1), an all-to-all of its own S bytes
S(n − 1)/n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from danlu.planning.demand import Demand
from danlu.planning.layout import Layout
from danlu.planning.memory import stage
from danlu.spec.devices import Device

REACHED = 0.8  # of a link's published bytes/s, by large messages: assumed
LATENCY = 20e-6  # seconds of a collective beside its bytes: assumed
BACKWARD = 2 / 3  # of the work of a pass without recomputing


@dataclass(frozen=True)
class Collective:
    """``calls`` of one ``kind`` in an update, in which a device sends ``bytes`` together over a group of
    ``count`` devices, ``inside`` of them in one machine. ``beside``: the part of an update's work that can
    go on meanwhile (0: all wait); ``why``: what is sent."""

    kind: str
    why: str
    axis: str
    calls: int
    bytes: float
    count: int
    inside: int
    beside: float

    def seconds(self, device: Device) -> float:
        """On the links of ``device``, without what is hidden beside work. The devices of a group in one
        machine reach other machines through their network cards together."""
        link = device.link
        if self.inside < self.count and device.network is not None:
            link = min(link, device.network * self.inside)
        return self.bytes / (REACHED * link) + self.calls * LATENCY


def ring(size: float, count: int) -> float:
    """Bytes that each of ``count`` sends where ``size`` bytes are gathered, or summed and scattered."""
    return size * (count - 1) / count


def traffic(demand: Demand, layout: Layout, device: Device) -> list[Collective]:
    """The collectives of an update on the device that sends most."""
    passes = layout.passes(demand.batch)
    blocks, ends = max((stage(demand, layout, i) for i in {0, layout.pipeline - 1}),
                       key=lambda one: sum(demand.blocks[i] for i in one[0]) + one[1])  # fmt: skip
    inner = sum(demand.blocks[i] for i in blocks)
    apart = layout.tensor if layout.split else 1
    dealt = demand.dealt * (inner + ends) / demand.parameters / layout.shards
    found: list[Collective] = []

    def add(kind: str, why: str, axis: str, calls: int, size: float, beside: float = 0.0) -> None:
        count, inside = layout.inside(axis, device)
        if count > 1 and calls and size:
            found.append(Collective(kind, why, axis, calls, size, count, inside, beside))

    def sent(size: float, axis: str) -> float:
        return ring(size, layout.inside(axis, device)[0])

    last_backward = BACKWARD / passes
    if layout.sharded:
        over = "split weights" if layout.split else "weights"
        units = len(blocks) + 1
        # Blocks are gathered before each pass through them, forward and backward; the ends once a pass.
        size = demand.element * (2 * inner + ends) / apart
        add("all_gather", "weights", over, passes * (2 * len(blocks) + 1), passes * sent(size, over), 1.0)
        times, beside = (1, last_backward) if layout.held else (passes, BACKWARD)
        size = times * sent(4 * (inner + ends) / apart, over)
        add("reduce_scatter", "gradients", over, times * units, size, beside)
        shard = 4 * (inner + ends) / layout.shards
        add("all_reduce", "gradients of shards", "replicate", units, 2 * sent(shard, "replicate"),
            last_backward)  # fmt: skip
        add("all_to_all", "matrices for the optimizer", "weights", demand.deals, sent(dealt, "weights"))
    else:
        axis = "split rows" if layout.split else "rows"
        size = demand.stored * (inner + ends) / layout.shards
        buckets = max(1, round(size / 25e6))  # DDP's, of 25 MB
        add("all_reduce", "gradients", axis, buckets, 2 * sent(size, axis), last_backward)
    stream = layout.rows * demand.stream / layout.context
    # Megatron-LM: a sum behind attention and behind the feed-forward layer, and before each in the backward
    # pass (Shoeybi et al. 2019, figure 4); once more of each forward where blocks are recomputed.
    sums = (6 if demand.recompute else 4) * len(blocks) * passes
    add("all_reduce", "sums of tensor parallel parts", "tensor", sums, sums * 2 * sent(stream, "tensor"))
    # DeepSpeed-Ulysses: queries, keys, values and what is mixed change from positions to heads and back.
    # Fewer heads of keys and values are fewer bytes, but each device needs one.
    turns = (12 if demand.recompute else 8) * len(blocks) * passes
    heads, held = demand.heads // layout.tensor, max(1, demand.keys // layout.tensor)
    keys = min(1.0, math.lcm(held, layout.context) / heads)
    size = turns * (1 + keys) / 2 * sent(stream / layout.tensor, "context")
    add("all_to_all", "heads for positions", "context", turns, size)
    add("send", "the stream between stages", "pipeline", 2 * passes, 2 * passes * stream)
    return found


def hidden(found: list[Collective], work: float, device: Device) -> float:
    """Seconds of ``found`` that show, beside ``work`` seconds of an update: those that all wait for, and of
    the others what is longer than the part of the work that goes on meanwhile. Those that run in the same
    part of the work share the links, one after another."""
    waits = sum(one.seconds(device) for one in found if not one.beside)
    shown, before = 0.0, 0.0
    for beside in sorted({one.beside for one in found if one.beside}):
        before += sum(one.seconds(device) for one in found if one.beside == beside)
        shown = max(shown, before - beside * work)
    return waits + shown
