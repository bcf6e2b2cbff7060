"""Seconds of a network's own work on one device, if everything ran at the published rates.

Products at the peak rate, and after them everything that memory moves at its bandwidth: what lies between
products (norms, activations, the loss, the optimizer) waits for memory, and kernels run one after another.
Real kernels reach a part of this; ``Device.reached`` says which part published runs reached.
"""

from __future__ import annotations

from dataclasses import dataclass

from danlu.planning.demand import Demand
from danlu.planning.layout import Layout
from danlu.planning.memory import divided, stage
from danlu.spec.devices import Device

TIMES = 4  # a kept number is written and read once, and so is its gradient


@dataclass(frozen=True)
class Work:
    """Of an update on one device: seconds of ``products``, of ``memory`` and of the ``optimizer``."""

    products: float
    memory: float
    optimizer: float

    @property
    def total(self) -> float:
        """One after another."""
        return self.products + self.memory + self.optimizer


def work(demand: Demand, layout: Layout, device: Device) -> Work:
    """What the slowest stage takes for an update, pipelines' waiting left out. Raises SpecError where the
    device has no rate in the precision."""
    passes, rate = layout.passes(demand.batch), device.rate(demand.precision)
    return max(
        (_stage(demand, layout, which, passes, rate, device) for which in {0, layout.pipeline - 1}),
        key=lambda one: one.total,
    )


def _stage(demand: Demand, layout: Layout, which: int, passes: int, rate: float, device: Device) -> Work:
    blocks, ends = stage(demand, layout, which)
    last, rows = which == layout.pipeline - 1, layout.rows * passes
    n = sum(demand.blocks[i] for i in blocks) + ends
    share, of_blocks = n / demand.parameters, len(blocks) / len(demand.blocks)
    inside = 3 * demand.forward + (demand.forward if demand.recompute else 0)
    of_ends = demand.ends * (4 / 3 if layout.in_parts(demand) else 1)  # passed forward twice
    flops = inside * of_blocks + (of_ends if last else 0)
    kept = sum(divided(demand.activations[i], demand.alike, layout) for i in blocks)
    kept *= 1.5 if demand.recompute else 1  # written and read once more
    kept += demand.outside / (layout.context * layout.tensor) if last else 0
    # Weights are read for the forward and the backward pass, gradients written, copies made of the masters.
    of_weights = passes * n / layout.tensor * (3 * demand.element + 2 * demand.stored)
    # The optimizer reads and writes weights and state, and reads gradients.
    held = n * 3 * demand.stored / layout.shards + 2 * (demand.state / layout.shards + demand.whole) * share
    divided_by = layout.shards if layout.sharded else 1  # whole matrices are dealt out
    return Work(
        products=flops * rows / (layout.context * layout.tensor) / rate,
        memory=(TIMES * kept * rows + of_weights) / device.bandwidth,
        optimizer=held / device.bandwidth + demand.update_flops * share / divided_by / rate,
    )
