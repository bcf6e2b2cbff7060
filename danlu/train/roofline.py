"""A roofline by part: what each part of the network computes, moves and takes in an update (Williams,
Waterman & Patterson 2009)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn as nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from danlu.models.costs import parts_of
from danlu.models.graph import flops_of

OUTSIDE = "loss and between"  # what belongs to no part


def moved(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    """Bytes of the tensors that an operator reads and writes; 0 of a view."""
    leaves = () if func.is_view else tree_leaves((args, kwargs, result))
    return sum(t.numel() * t.element_size() for t in leaves if isinstance(t, torch.Tensor))


class Roofline(TorchDispatchMode):
    """Seconds, FLOPs and bytes of every operator, by the part of the network that it works for: ``seconds``,
    ``flops`` and ``bytes`` by name. Backward passes count with the part whose gradient they make, as far as
    the outputs of modules tell. Bytes are those of the tensors read and written, views left out: an upper
    bound of what crosses the memory bus. Seconds are of the operators alone, one after another."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.seconds: dict[str, float] = {}
        self.flops: dict[str, int] = {}
        self.bytes: dict[str, int] = {}
        self.at = [OUTSIDE]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._wait()
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        self._wait()
        spent, part = time.perf_counter() - start, self.at[-1]
        self.seconds[part] = self.seconds.get(part, 0.0) + spent
        self.flops[part] = self.flops.get(part, 0) + flops_of(func, args, kwargs or {}, result)
        self.bytes[part] = self.bytes.get(part, 0) + moved(func, args, kwargs or {}, result)
        return result

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        """What runs here is for ``part``."""
        self.at.append(part)
        try:
            yield
        finally:
            self.at.pop()

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Within, operators count with the part of ``model`` that runs them, forward and backward."""
        with ExitStack() as stack:
            for module, part in parts_of(model).items():
                if part != "other":
                    stack.callback(module.register_forward_pre_hook(self._enter(part)).remove)
                    stack.callback(module.register_forward_hook(self._leave(part)).remove)
            stack.callback(model.register_forward_pre_hook(self._begin).remove)
            stack.enter_context(self)
            yield

    def _begin(self, *_: Any) -> None:
        self.at[-1] = OUTSIDE  # after the backward pass before it

    def _enter(self, part: str) -> Callable[..., None]:
        return lambda *_: self.at.append(part)

    def _leave(self, part: str) -> Callable[..., None]:
        def back(*_: Any) -> None:
            self.at[-1] = part

        def hook(module: nn.Module, given: Any, output: Any) -> None:
            self.at.pop()
            for t in tree_leaves(output):
                if isinstance(t, torch.Tensor) and t.grad_fn is not None:
                    t.grad_fn.register_prehook(back)

        return hook


def parts(
    model: nn.Module,
    device: torch.device,
    passes: Callable[[], Any],
    step: Callable[[Any], None],
    updates: int = 3,
) -> list[dict[str, Any]]:
    """``part``, ``seconds``, ``flops`` and ``bytes`` of one update, by part of ``model`` and of the
    optimizer, the dearest first: the fastest of ``updates``, part by part. ``passes`` makes the gradients,
    run eagerly; ``step`` takes what it returns and updates."""
    found: list[Roofline] = []
    for _ in range(updates):
        seen = Roofline(device)
        with seen.watching(model):
            with seen.within(OUTSIDE):
                made = passes()
            with seen.within("optimizer"):
                step(made)
        found.append(seen)
    rows = [
        {
            "part": part,
            "seconds": min(one.seconds[part] for one in found),
            "flops": found[0].flops[part],
            "bytes": found[0].bytes[part],
        }
        for part in found[0].seconds
        if all(part in one.seconds for one in found)
    ]
    return sorted(rows, key=lambda row: -row["seconds"])
