"""What the processes of a run say to one another in an update: bytes and time of each kind of collective, and
what the workers of one have to say by the formula."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection
from typing import Any

from danlu import spec

# As PyTorch's profiler calls the types of tensors.
SIZES = {
    "float": 4,
    "double": 8,
    "c10::BFloat16": 2,
    "c10::Half": 2,
    "long int": 8,
    "int": 4,
    "unsigned char": 1,
}
BACKENDS = ("gloo:", "nccl:")


def collectives(work: Callable[[], Any]) -> list[dict[str, Any]]:
    """``kind`` (``all_reduce``, …), ``calls``, ``bytes`` that this process gave in and ``seconds`` from the
    call to its end, of the collectives in ``work()``, the slowest first; none where there is one process.
    They run beside the backward pass, and a process that comes first waits for the others: a step takes less
    than their sum. Every process calls it."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as trace

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with trace(activities=[ProfilerActivity.CPU], record_shapes=True) as traced:
        work()
    assert traced.profiler is not None and traced.profiler.kineto_results is not None
    found: dict[str, dict[str, Any]] = {}
    for event in traced.profiler.kineto_results.events():
        backend = next((name for name in BACKENDS if event.name().startswith(name)), None)
        if backend is None:
            continue
        kind = event.name().removeprefix(backend)
        row = found.setdefault(kind, {"kind": kind, "calls": 0, "bytes": 0, "seconds": 0.0})
        row["calls"] += 1
        row["seconds"] += event.duration_ns() / 1e9
        for shape, dtype in zip(event.shapes(), event.dtypes(), strict=False):
            row["bytes"] += math.prod(shape) * SIZES.get(dtype, 4) if shape else 0
    return sorted(found.values(), key=lambda row: -row["seconds"])


def sent(train: spec.Train, tensors: Collection[int], size: int) -> dict[str, float] | None:
    """What a run of workers that train apart has to say of ``tensors`` of so many numbers, with examples of
    ``size`` units; None of others.

    ``bytes_per_unit``: that each of the ``workers`` gives away for a unit that all of them together train on,
    4N/(H·units of an update) of DiLoCo; ``data_parallel``: the same if gradients were summed at every update.
    Tables of levels are counted; loss and norm of an update (16 bytes) are not, and neither is
    the mean of slow weights wherever a run is evaluated. In a ring each byte given is sent 2(M − 1)/M times.
    """
    if train.outer is None:
        return None
    units, parameters = train.batch * size, sum(tensors)
    return {
        "workers": train.outer.workers,
        "bytes_per_unit": train.outer.sent(parameters, len(tensors)) / (train.outer.every * units),
        "data_parallel": 4 * parameters / units,
    }
