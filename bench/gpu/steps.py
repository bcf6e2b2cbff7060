"""Time of an update, eager and compiled: what danlu does in one, on ids drawn once."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.gpu.place import Place, Row, workshop
from danlu import optim
from danlu.objectives import Draw, Language, training_keys
from danlu.spec import resolve
from danlu.train import compiling
from danlu.train.assemble import assemble, objective_of, outlined
from danlu.train.machine import ceiling, pick_precision
from danlu.train.parallel import Processes
from danlu.train.update import Update, to_device

TEN = ("nanogpt-char", "model.layers=6", "model.width=384", "model.mixer.heads=6", "data.context=256")
GPT2 = ("gpt2-124m", "train.microbatch=none")
LARGE = (*GPT2, "model.layers=24", "model.width=1024", "model.mixer.heads=16")  # GPT-2 medium
TINY = ("model.layers=2", "model.width=32", "model.mixer.heads=2", "data.context=16")
PROFILED = 3  # updates
OFF = 1.25  # times by which memory may differ from what is said


def eager(at: Place) -> Iterator[Row]:
    for name, words, vocabulary, batch in (
        ("nano", ("nano",), 257, 8),
        ("10 M", TEN, 65, 64),
        ("124 M", GPT2, 50304, 16),
    ):
        step = Step(at, words, vocabulary, batch)
        row = {"what": f"{name}, {step}", **step.speed()}
        yield row | {
            "launches": launches(at, step),
            "synchronisations": synchronisations(at, step) / PROFILED,
        }
        del step
    yield {"what": "nano in danlu train, synchronisations an update", "number": in_training(at)}


def compiled(at: Place) -> Iterator[Row]:
    yield one_compiled(at, "124 M", GPT2, 50304, 16)
    yield one_compiled(at, "124 M", GPT2, 50304, 32)
    yield one_compiled(at, "124 M, block by block", GPT2, 50304, 16, whole=False)


def large(at: Place) -> Iterator[Row]:
    yield one_compiled(at, "350 M", LARGE, 50304, 16)


def one_compiled(
    at: Place, name: str, words: tuple[str, ...], vocabulary: int, batch: int, *, whole: bool = True
) -> Row:
    """``whole``: loss and gradients as one graph, as a run of one process compiles; else by block, as one of
    several processes does."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    how = {"backend": at.size("inductor", "aot_eager")}
    step = Step(at, words, vocabulary, batch)
    if whole:
        step.loss = compiling.compiled(step.experiment, step.made.objective, **how).loss
    else:
        compiling.compile_blocks(step.experiment, step.model.blocks, **how)
    start = time.perf_counter()
    step()
    at.wait()
    row = {"what": f"{name}, {step}", "compile s": time.perf_counter() - start, **step.speed()}
    row |= {"graphs": counters["stats"]["unique_graphs"], "breaks": sum(counters["graph_break"].values())}
    return row | step.memory()


class Step(Update):
    """Updates of the experiment that ``words`` say, as a run makes them, always on the same ``batch``
    sequences of random ids."""

    def __init__(self, at: Place, words: tuple[str, ...], vocabulary: int, batch: int) -> None:
        self.at, self.batch, self.vocabulary = at, at.size(batch, 2), at.size(vocabulary, 97)
        more = [*at.size((), TINY), f"train.batch={self.batch}", "optimizer.lr=1e-4"]
        self.experiment = resolve([*words, *more])
        objective = objective_of(self.experiment, outlined(self.experiment, self.vocabulary))
        assert isinstance(objective, Language)
        precision = pick_precision("auto", at.device)
        super().__init__(assemble(self.experiment, objective, precision, Processes(0, 1, at.device)))
        self.ceiling, self.model = ceiling(at.device, precision), self.made.model
        ids = np.random.default_rng(0).integers(self.vocabulary, size=(self.batch, objective.context + 1))
        made = objective.make(ids[:, :-1], ids[:, 1:], training_keys(0, 0, 0, self.batch))
        self.there = to_device(made, at.device)
        self.tokens = self.batch * objective.context

    def __str__(self) -> str:
        return f"{self.batch}×{self.tokens // self.batch} tokens"

    def example(self, draw: Draw) -> dict[str, torch.Tensor]:
        return self.there

    def __call__(self) -> None:
        """One update."""
        self.apply(0, self.gradients(0, 0, self.batch))
        self.clear()

    def speed(self) -> Row:
        """Milliseconds, tokens a second, FLOP/s as a share of the machine's ceiling and of the published."""
        ms = self.at.milliseconds(self)
        flops = self.made.flops_per_unit * self.tokens / ms * 1e3
        found = {"ms": ms, "tok/s": round(self.tokens / ms * 1e3), "of ceiling": flops / self.ceiling}
        published = self.at.published()
        return found | ({"MFU": flops / published} if published else {})

    def memory(self) -> Row:
        """Megabytes at the peak of an update, all that is held included, beside what ``costs`` says without
        the optimizer's state, and that state."""
        from danlu.train.costs import costs

        said = costs(self.experiment, self.vocabulary)["memory"]
        state = sum(t.numel() * t.element_size() for t in optim.state_tensors(self.made.rules).values())
        expected = sum(said[part] for part in ("weights", "gradients", "activations", "copies"))
        if not self.at.cuda:
            return {"costs() MB": expected / 1e6, "state MB": state / 1e6}
        torch.cuda.reset_peak_memory_stats()
        self()
        self.at.wait()
        peak = torch.cuda.max_memory_allocated()
        row: Row = {"peak MB": peak / 1e6, "costs() MB": expected / 1e6, "state MB": state / 1e6}
        off = peak / (expected + state)
        return row if 1 / OFF <= off <= OFF else row | {"wrong": f"memory is {off:.2f} times what is said"}


# --- what an update asks of the processor ------------------------------------------------------------------


def launches(at: Place, step: Callable[[], None]) -> float:
    """Kernels started in an update; on a CPU, operators."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * at.cuda]
    with profile(activities=activities) as profiled:
        for _ in range(PROFILED):
            step()
        at.wait()
    wanted = ("cudaLaunchKernel", "cuLaunchKernel") if at.cuda else ("aten::",)
    return sum(e.count for e in profiled.key_averages() if e.key.startswith(wanted)) / PROFILED


def synchronisations(at: Place, step: Callable[[], None]) -> int:
    """How often the processor waits for the device in some updates; on a CPU, calls of ``item``."""

    def work() -> None:
        for _ in range(PROFILED):
            step()

    return waits(at, work)


def waits(at: Place, work: Callable[[], object]) -> int:
    """How often ``work`` waits for the device."""
    if not at.cuda:
        with Reads() as reads:
            work()
        return reads.count
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in said)


class Reads(TorchDispatchMode):
    """Counts the numbers that are read out of tensors."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def in_training(at: Place) -> float:
    """Synchronisations of an update of ``danlu train nano``: of what a longer run has more."""
    from bench.gpu.resume import WORDS, carry_out

    short, long = at.size((20, 60), (2, 6))

    def taken(count: int, folder: Path) -> int:
        more = [f"train.device={at.device.type}", f"train.steps={count}", "train.checkpoint_every=none"]
        return waits(at, lambda: carry_out([*WORDS, *more], folder))

    with workshop() as folder:
        taken(short, folder / "first")  # it also prepares the data
        return (taken(long, folder / "long") - taken(short, folder / "short")) / (long - short)
