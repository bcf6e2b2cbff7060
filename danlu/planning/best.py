"""All meshes of so many devices, the fastest first, and why the others cannot be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from danlu.planning.demand import Demand
from danlu.planning.layout import Layout
from danlu.planning.step import Step, step
from danlu.spec.devices import Device
from danlu.spec.errors import SpecError


@dataclass(frozen=True)
class Tried:
    """A mesh: what it takes (None where it cannot be), and ``why`` it cannot be or does not fit (None: it
    does)."""

    layout: Layout
    step: Step | None
    why: str | None


def divisors(n: int) -> list[int]:
    """Of n, from 1 on.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    return [d for d in range(1, n + 1) if n % d == 0]


def layouts(devices: int, machine: int) -> Iterator[Layout]:
    """The meshes of so many devices: replicas alone; sharded, with replicas of one or more machines; each
    with ``tensor`` and ``context`` within a machine, and stages."""
    for tensor in divisors(devices):
        for context in divisors(devices // tensor):
            if tensor * context > machine:
                continue
            for pipeline in divisors(devices // (tensor * context)):
                rest = devices // (tensor * context * pipeline)
                plain = Layout(pipeline=pipeline, replicate=rest, context=context, tensor=tensor)
                yield plain
                if rest * context * tensor == 1:
                    continue
                for shard in divisors(rest):
                    if shard == rest or shard * context * tensor % machine == 0:
                        yield replace(plain, replicate=rest // shard, shard=shard, sharded=True)


def best(
    demand: Demand,
    devices: int,
    device: Device,
    *,
    rows: int | None = None,
    mfu: float | None = None,
    split: bool = False,
) -> list[Tried]:
    """Every mesh: those that fit first, the fastest first (by the slow end of their range). ``rows``:
    examples of a pass (None: the fastest that fit, of those that divide the batch). Sharded gradients are
    scattered after each pass where else too much would be held."""
    found = [
        attempt(demand, replace(one, split=split), device, rows, mfu, (True, False))
        for one in layouts(devices, device.machine)
    ]
    return sorted(found, key=lambda one: (one.why is not None, one.step.seconds[1] if one.step else 0.0))


def attempt(
    demand: Demand,
    layout: Layout,
    device: Device,
    rows: int | None,
    mfu: float | None,
    held: Sequence[bool] = (),
) -> Tried:
    """``layout`` with ``rows`` examples of a pass; None: the fastest of those that fit. ``held``: what is
    tried of that (left out: as it is in ``layout``)."""
    if demand.batch % layout.data:
        why = f"a batch of {demand.batch} is not a multiple of its {layout.data} parts"
        return Tried(layout, None, why)
    choices = divisors(demand.batch // layout.data) if rows is None else [rows]
    tried = [
        _one(demand, replace(layout, rows=n, held=whole), device, mfu)
        for n in choices
        for whole in held or [layout.held]
        if whole or not held or _can_scatter(layout, demand.batch // layout.data // n)
    ]
    fits = [one for one in tried if one.why is None and one.step]
    if fits:
        return min(fits, key=lambda one: one.step.seconds[1] if one.step else 0.0)
    return min(tried, key=lambda one: one.step.memory.total if one.step else math.inf)


def _can_scatter(layout: Layout, passes: int) -> bool:
    """Whether there are passes to scatter gradients after; in a pipeline they wait for the last."""
    return layout.sharded and layout.pipeline == 1 and passes > 1


def _one(demand: Demand, layout: Layout, device: Device, mfu: float | None) -> Tried:
    try:
        made = step(demand, layout, device, mfu)
    except SpecError as error:
        return Tried(layout, None, str(error))
    if made.memory.total > device.memory:
        why = f"it takes {made.memory.total / 1e9:,.1f} GB of {device.memory / 1e9:,.0f}"
        return Tried(layout, made, why)
    return Tried(layout, made, None)
