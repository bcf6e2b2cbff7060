"""The machine that is here as a device of a plan: its ceilings measured, not published."""

from __future__ import annotations

import torch

from danlu.spec.devices import HERE, Device, recognised
from danlu.train.machine import ceiling, fast_bfloat16, pick_device
from danlu.train.memory import available
from danlu.train.profile import bandwidth

ASSUMED = (0.2, 0.9)  # of measured ceilings: small networks reach little of them, large ones most


def here() -> Device:
    """FLOP/s of a large product, by precision, bytes/s of a copy, and free memory, measured in some seconds.
    Links are those of the table, where that knows the GPU; of others nothing is known, and there is one."""
    place = pick_device("auto")
    known = recognised(torch.cuda.get_device_name()) if place.type == "cuda" else None
    peak = {"float32": ceiling(place, "float32")}
    if fast_bfloat16(place):
        peak["bfloat16"] = ceiling(place, "bfloat16")
    speed = bandwidth(place)
    return Device.model_validate({
        "name": HERE, "title": f"this machine's {place.type}", "peak": peak, "processor": place.type,
        "memory": float(available(place) or 1e12), "bandwidth": speed, "reached": ASSUMED,
        "link": known.link if known else speed, "machine": known.machine if known else 1,
        "network": known.network if known else None, "source": "measured here",
    })  # fmt: skip
