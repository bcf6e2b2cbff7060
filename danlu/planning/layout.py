"""How devices are divided: who holds which weights, rows, positions and layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from danlu.planning.demand import Demand
from danlu.spec.devices import Device
from danlu.spec.errors import SpecError

AXES = ("pipeline", "replicate", "shard", "context", "tensor")  # from the outermost: neighbours are tensor's

TOGETHER = {
    "weights": ("shard", "context", "tensor"),
    "rows": ("replicate", "shard", "context", "tensor"),
    "split weights": ("shard", "context"),
    "split rows": ("replicate", "shard", "context"),
}


@dataclass(frozen=True)
class Layout:
    """``pipeline`` stages; in each of them ``replicate`` × ``shard`` parts of a batch, whose positions are
    divided by ``context`` and whose layers, heads and hidden units, by ``tensor``. ``sharded``: weights are
    sharded (FSDP) within the ``shard`` · ``context`` · ``tensor`` devices of a replica; else every device
    has all of its stage's (DDP). ``split``: tensor parallel devices hold a part of each matrix (Megatron),
    instead of gathering it. ``held``: sharded gradients of an update's passes are summed whole, and scattered
    once; else after each pass (``train.gradient_sync = pass``). ``rows``: examples of one pass, of each part
    of a batch."""

    pipeline: int = 1
    replicate: int = 1
    shard: int = 1
    context: int = 1
    tensor: int = 1
    sharded: bool = False
    split: bool = False
    held: bool = True
    rows: int = 1

    @property
    def devices(self) -> int:
        """Their number."""
        return self.pipeline * self.replicate * self.shard * self.context * self.tensor

    @property
    def data(self) -> int:
        """Parts of a batch."""
        return self.replicate * self.shard

    @property
    def shards(self) -> int:
        """Devices that the weights of a stage are divided among."""
        if self.sharded:
            return self.shard * self.context * self.tensor
        return self.tensor if self.split else 1

    def in_parts(self, demand: Demand) -> bool:
        """Whether a device makes the logits of a pass in parts: not where tensor parallel devices share them,
        nor in a pipeline, whose last stage returns them whole."""
        alone = self.tensor == self.pipeline == 1
        return alone and demand.parts is not None and self.rows / self.context >= demand.parts

    def passes(self, batch: int) -> int:
        """Passes of an update. Raises SpecError where a batch cannot be divided so."""
        each = self.data * self.rows
        if batch % each:
            raise SpecError(
                f"a batch of {batch} is not a multiple of {each} ({self.data} parts of {self.rows} rows)"
            )
        return batch // each

    def inside(self, axis: str, device: Device) -> tuple[int, int]:
        """The devices that differ by ``axis``, of ``AXES`` or ``TOGETHER``, alone: how many there are, and
        how many of them in one machine."""
        along = TOGETHER.get(axis, (axis,))
        innermost = AXES.index(along[-1])
        stride = math.prod(getattr(self, name) for name in AXES[innermost + 1 :])
        count = math.prod(getattr(self, name) for name in along)
        return count, max(1, min(count, device.machine // stride))

    def check(self, demand: Demand, device: Device) -> None:
        """Raises SpecError, a sentence, where a model cannot be divided so."""
        passes = self.passes(demand.batch)
        if demand.heads == 1 < max(self.tensor, self.context):
            axis = "tensor" if self.tensor > 1 else "context"
            raise SpecError(
                f"{axis} = {getattr(self, axis)} deals out heads, and a layer has one head or none"
            )
        if demand.heads % self.tensor:
            raise SpecError(f"tensor = {self.tensor} does not divide the {demand.heads} heads")
        if demand.heads % (self.context * self.tensor):  # each tensor parallel one deals out its share
            among = f"context = {self.context}" + (f" · tensor = {self.tensor}" if self.tensor > 1 else "")
            raise SpecError(f"{among} does not divide the {demand.heads} heads")
        if demand.units % self.context:
            raise SpecError(f"context = {self.context} does not divide {demand.units} positions")
        if self.pipeline > len(demand.blocks):
            layers = "one layer" if len(demand.blocks) == 1 else f"{len(demand.blocks)} layers"
            raise SpecError(f"pipeline = {self.pipeline} is more than the {layers}")
        if self.pipeline > passes:
            raise SpecError(f"pipeline = {self.pipeline} takes as many passes, and an update has {passes}")
        if self.tensor > device.machine:
            raise SpecError(f"tensor = {self.tensor} is more than the {device.machine} devices of a machine")
        if self.devices > device.machine and device.network is None:
            raise SpecError(
                f"{device.name} has no published network between machines, and one holds {device.machine}; "
                "write a YAML file of the device with its network"
            )

    def said(self) -> str:
        """``fsdp shard=8 tensor=2``: what is not one."""
        sizes = {name: getattr(self, name) for name in AXES}
        sizes = {name: size for name, size in sizes.items() if size > 1}
        if not self.sharded and "replicate" in sizes:
            sizes = {"ddp": sizes.pop("replicate"), **sizes}
        kind = [] if not self.sharded else ["hsdp" if self.replicate > 1 else "fsdp"]
        return " ".join([*kind, *(f"{name}={size}" for name, size in sizes.items())]) or "one device"
