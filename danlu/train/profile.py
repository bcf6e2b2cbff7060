"""Where a training step's time goes: parts, operators, and a roofline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from danlu import data, objectives, optim, spec
from danlu.models import Model, build
from danlu.nn.kernels import choose
from danlu.train.evaluate import to_device
from danlu.train.machine import PRECISIONS, ceiling, check_seed, keep_memory, pick_device, pick_precision
from danlu.train.plan import updates_of
from danlu.train.precision import total_norm


class Traffic(TorchDispatchMode):
    """Adds up the bytes of the tensors that operators read and write, views left out.

    An upper bound of what crosses the memory bus: what stays in a cache counts all the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            for leaf in tree_leaves((args, kwargs or {}, result)):
                if isinstance(leaf, torch.Tensor):
                    self.bytes += leaf.numel() * leaf.element_size()
        return result


def bandwidth(device: torch.device) -> float:
    """Bytes a second of a copy too large for the caches, read and write counted."""
    size = 256 << 20 if device.type == "cuda" else 64 << 20
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = min(_seconds(lambda: target.copy_(source), device) for _ in range(4))
    return 2 * size / best


def profile(experiment: spec.Experiment, *, steps: int = 20) -> dict[str, Any]:
    """Time the parts of a training step of ``experiment`` in one process.

    Returns ``seconds`` a step by part (data, forward, backward, optimizer; medians of ``steps``),
    ``bottleneck``, ``flops`` and ``bytes`` a step, ``intensity`` (FLOPs a byte), ``ceiling`` (FLOP/s of a
    large matrix product) and ``bandwidth`` (bytes/s of a copy) as measured here, ``utilisation``, ``bound``
    (``compute`` or ``memory``: on which side of ceiling/bandwidth the intensity lies), ``kernel``, and
    ``operators``: the dearest, with their share of the step.
    """
    train, context = experiment.train, experiment.data.context
    check_seed(train.seed)
    device = pick_device(train.device)
    keep_memory()
    precision = pick_precision(train.precision, device)
    dataset = data.prepare(experiment.data)
    torch.manual_seed(train.seed)
    objective: objectives.Objective = objectives.build(
        experiment.objective, dataset.tokenizer, experiment.data
    )
    model: Model = build(experiment.model, objective.vocabulary, max(objective.lengths)).to(device)
    model.compute, model.recompute = PRECISIONS[precision], train.recompute
    optimizers = optim.build(experiment.optimizer, model, updates_of(experiment))
    rows = train.microbatch or train.batch
    batches = data.Batches(dataset.train, context=context, seed=train.seed)
    parameters = list(model.parameters())

    def update() -> None:
        grads = [p.grad for p in parameters if p.grad is not None]
        torch._foreach_mul_(grads, min(1.0, 1.0 / (float(total_norm(grads)) + 1e-6)))
        for optimizer in optimizers:
            optimizer.step()
        for p in parameters:
            p.grad = None

    times: dict[str, list[float]] = {"data": [], "forward": [], "backward": [], "optimizer": []}

    def step(i: int) -> None:
        box: dict[str, Any] = {}

        def read() -> None:
            keys = objectives.training_keys(train.seed, i, 0, rows)
            box["example"] = to_device(objective.example(*batches.rows(i * rows, rows), keys), device)

        def forward() -> None:
            nats, penalty = objective.loss(model, box["example"])
            box["loss"] = (nats if penalty is None else nats + penalty) / (rows * objective.count)

        parts: list[tuple[str, Callable[[], Any]]] = [
            ("data", read),
            ("forward", forward),
            ("backward", lambda: box["loss"].backward()),
            ("optimizer", update),
        ]
        for name, work in parts:
            times[name].append(_seconds(work, device))

    for i in range(3):
        step(i)
    for values in times.values():
        values.clear()
    for i in range(steps):
        step(i)
    with Traffic() as traffic:
        step(steps)
    operators = _operators(lambda: step(steps + 1))
    seconds = {name: sorted(values[:steps])[steps // 2] for name, values in times.items()}
    whole = sum(seconds.values())
    flops = 3 * model.flops(rows, *objective.lengths)
    peak, bus = ceiling(device, precision), bandwidth(device)
    kernel = choose(device.type, PRECISIONS[precision])
    return {
        "seconds": seconds,
        "bottleneck": max(seconds, key=lambda name: seconds[name]),
        "tokens_per_second": rows * context / whole,
        "flops": flops,
        "bytes": traffic.bytes,
        "intensity": flops / traffic.bytes,
        "ceiling": peak,
        "bandwidth": bus,
        "utilisation": flops / whole / peak,
        "bound": "compute" if flops / traffic.bytes > peak / bus else "memory",
        "precision": precision,
        "device": device.type,
        "kernel": {"kernel": kernel.kernel, "why": kernel.why},
        "operators": operators,
    }


def _operators(work: Callable[[], None], most: int = 8) -> list[dict[str, Any]]:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as trace

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
