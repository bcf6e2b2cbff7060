"""Where a training step's time goes: parts, operators, and a roofline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from danlu import data, spec
from danlu.train import compiling
from danlu.train.apart import updates
from danlu.train.assemble import Assembly, assemble, objective_of
from danlu.train.communication import collectives
from danlu.train.kernels import report
from danlu.train.machine import (
    ceiling,
    convolves,
    keep_memory,
    multiplying,
    pick_device,
    pick_precision,
    published,
)
from danlu.train.parallel import Processes, processes
from danlu.train.roofline import moved, parts
from danlu.train.teacher import teach

PARTS = ("data", "forward", "backward", "optimizer")


class Traffic(TorchDispatchMode):
    """Adds up the bytes of the tensors that operators read and write, views left out.

    An upper bound of what crosses the memory bus: what stays in a cache counts all the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.bytes += moved(func, args, kwargs or {}, result)
        return result


def bandwidth(device: torch.device) -> float:
    """Bytes a second of a copy too large for the caches, read and write counted."""
    size = 256 << 20 if device.type == "cuda" else 64 << 20
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = min(_seconds(lambda: target.copy_(source), device) for _ in range(4))
    return 2 * size / best


def profile(experiment: spec.Experiment, *, steps: int = 20) -> dict[str, Any] | None:
    """Time the parts of an update of ``experiment``: what a run does; compiled where ``train.compile`` is
    true. Under torchrun all processes take part, and all but the first return None.

    Returns ``seconds`` an update by part (data, forward, backward, optimizer; medians of ``steps``),
    ``bottleneck``, ``unit`` and how many of them a second (``tokens_per_second``), ``flops`` and ``bytes`` an
    update, ``intensity`` (FLOPs a byte), ``ceiling`` (FLOP/s of a large product) and ``bandwidth`` (bytes/s
    of a copy) as measured here, ``utilisation``, ``mfu`` (of the rate that the maker of the GPU
    publishes; None where that is not known), ``bound`` (``compute`` or ``memory``: on which side of
    ceiling/bandwidth the intensity lies), ``precision``, ``device``, ``kernels`` (as
    ``danlu.train.kernels.report`` finds them), ``operators``: the dearest, with their share of the
    update, ``parts``: what each part of the network computes, moves and takes
    (``danlu.train.roofline.parts``; empty where there are several processes), ``processes``, and
    ``communication`` between them by kind (``danlu.train.communication.collectives``). FLOPs and units
    are those of all processes, bytes of one.
    """
    train = experiment.train
    device = pick_device(train.device)
    with multiplying(train, device), processes(device, train.mesh) as group:
        found = _profile(experiment, steps, group)
    return found if group.first else None


def _profile(experiment: spec.Experiment, steps: int, group: Processes) -> dict[str, Any]:
    train, device = experiment.train, group.device
    keep_memory()
    precision = pick_precision(train.precision, device)
    objective = objective_of(experiment, data.prepare(experiment.data))
    teach(experiment, objective, group)
    made = assemble(experiment, objective, precision, group)
    timer = _Timer(device)
    compiled = compiling.compiled(experiment, objective) if train.compile is True else None
    update = updates(made, part=timer.part, loss=None if compiled is None else compiled.loss)

    def step(i: int) -> None:
        loss = update.gradients(i, i * train.batch, train.batch)
        with timer.part("optimizer"):
            update.apply(i, loss)
            update.clear()
        timer.next()

    for i in range(3):
        step(i)
    timer.steps.clear()
    for i in range(steps):
        step(i)
    seconds = timer.medians()
    with Traffic() as traffic:
        step(steps)
    operators = _operators(lambda: step(steps + 1))
    spoken = collectives(lambda: step(steps + 2)) if group.count > 1 else []
    by_part = [] if group.count > 1 else _by_part(made, steps + 3)
    whole = sum(seconds.values())
    units = train.batch * objective.size
    flops = made.flops_per_unit * units
    peak = ceiling(device, precision, convolves(made.model), train.products)
    bus, told = bandwidth(device), published(device, precision, train.products)
    return {
        "seconds": seconds,
        "bottleneck": max(seconds, key=lambda name: seconds[name]),
        "unit": objective.unit,
        f"{objective.unit}s_per_second": units / whole,
        "flops": flops,
        "bytes": traffic.bytes,
        "intensity": flops / group.count / traffic.bytes,
        "ceiling": peak,
        "bandwidth": bus,
        "utilisation": flops / whole / (peak * group.count),
        "mfu": None if told is None else flops / whole / (told * group.count),
        "bound": "compute" if flops / group.count / traffic.bytes > peak / bus else "memory",
        "precision": precision,
        "device": device.type,
        "kernels": report(experiment),
        "operators": operators,
        "parts": by_part,
        "processes": group.count,
        "communication": spoken,
    }


def _by_part(made: Assembly, step: int) -> list[dict[str, Any]]:
    update = updates(made)  # eagerly, so that modules and operators are there to be seen
    batch = made.experiment.train.batch

    def change(loss: Any) -> None:
        update.apply(step, loss)
        update.clear()

    return parts(
        update.network, made.group.device, lambda: update.gradients(step, step * batch, batch), change
    )


class _Timer:
    """Seconds by part of each update, the device waited for at the end of every part."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.steps: list[dict[str, float]] = []
        self._now = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self._now[name] += time.perf_counter() - start

    def next(self) -> None:
        self.steps.append(self._now)
        self._now = dict.fromkeys(PARTS, 0.0)

    def medians(self) -> dict[str, float]:
        return {name: median(step[name] for step in self.steps) for name in PARTS}


def _operators(work: Callable[[], None], most: int = 8) -> list[dict[str, Any]]:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as trace

    # Before its first use: what PyTorch's profiler logs is not for the terminal.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
    with trace(activities=kinds) as traced:
        work()

    def own(event: Any) -> float:
        return float(getattr(event, "self_device_time_total", 0) or event.self_cpu_time_total)

    events = sorted(traced.key_averages(), key=own, reverse=True)
    whole = sum(own(event) for event in events) or 1.0
    return [{"operator": e.key, "calls": e.count, "share": own(e) / whole} for e in events[:most]]


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
