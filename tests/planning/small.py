"""A demand whose numbers can be done by hand."""

from __future__ import annotations

from danlu.planning import Demand
from danlu.spec.devices import Device

DEMAND = Demand(
    unit="token", units=64, batch=32, blocks=(1000, 1000, 1000, 1000), first=500, last=500, shared=0,
    flops=6 * 5000 * 64, forward=2 * 4000 * 64, precision="bfloat16", element=2, stored=4, state=8 * 5000,
    whole=0, update_flops=0, dealt=0, deals=0, activations=(9000, 9000, 9000, 9000), alike=3000, outside=700,
    stream=640, copies=10_000, logits=100, heads=8, keys=8,
)  # fmt: skip
DEVICE = Device(
    name="small", peak={"bfloat16": 1e9}, memory=1e9 * 2, bandwidth=1e8, link=1e6, machine=4, network=1e5,
    reached=(0.5, 1.0), source="a test",
)  # fmt: skip
