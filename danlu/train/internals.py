"""What goes on inside a network while it trains, by block and part: what ``train.internals_every`` writes.

It is observation alone. Activations and scores are those of a pass of its own over the update's first rows,
in evaluation mode and without gradients, so that what trains is not touched: a run that is looked at is, bit
for bit, the run that is not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn as nn

from danlu.nn import Block
from danlu.nn.kernels import Attended, watched
from danlu.nn.plain import blocks
from danlu.optim.base import local
from danlu.train.parallel import Processes

Values = dict[str, float]

_IN_BLOCK = re.compile(r"(.*\bblocks\.\d+\.(?:mixer|cross|feed_forward))")
_AT_THE_START = re.compile(r"\b(embedding|position|segments)")


def part(name: str) -> str:
    """The part of the model that the parameter ``name`` belongs to, norms and gains with what they serve:
    ``embedding``, ``blocks.0.mixer``, ``blocks.0.feed_forward``, ``readout`` (with the last norm), and in an
    encoder-decoder ``encoder.norm``."""
    if found := _IN_BLOCK.match(name):
        return found[1]
    if _AT_THE_START.search(name):
        return "embedding"
    return "encoder.norm" if name.startswith("encoder.") else "readout"


class Look:
    """What is seen of one update, in ``values`` after ``activations``, ``before`` and ``after``:

    - ``gradient/PART``: Euclidean norm of the gradient, before it is clipped;
    - ``update/PART``: ‖Δw‖/‖w‖, of all weights of the part together;
    - ``logits/BLOCK``, ``logits-rms/BLOCK``: the largest attention score, as the softmax gets it, and the
      root mean square over the pairs that are not hidden (of mixers that call ``danlu.nn.attend``);
    - ``kurtosis/BLOCK``, ``stream/BLOCK``, ``stream-max/BLOCK``: of the stream after the block: excess
      kurtosis, root mean square, largest absolute value;
    - ``logits/out``: root mean square of the output logits.
    """

    @classmethod
    def due(cls, every: int | None, step: int, model: nn.Module, group: Processes) -> Look | None:
        """One at every ``every``-th update, and at the first; None at others, and in processes that see
        nothing that the first does not see."""
        if every is None or not (step % every == 0 or step == 1):
            return None
        look = cls(model, group)
        return look if group.first or look._sharded else None

    def __init__(self, model: nn.Module, group: Processes) -> None:
        self.model, self.group = model, group
        self.values: Values = {}
        self._parts: dict[str, list[nn.Parameter]] = {}
        for name, p in model.named_parameters():
            if p.requires_grad:
                self._parts.setdefault(part(name), []).append(p)
        self._sharded = any(hasattr(p, "full_tensor") for p in model.parameters())
        self._before: dict[str, list[torch.Tensor]] = {}

    def activations(self, forward: Callable[[], Any]) -> None:
        """What happens in ``forward()``, a pass through the model."""
        self.values |= activations(self.model, forward)

    def before(self, scale: float = 1.0) -> None:
        """Before the update: the gradients, of a loss multiplied by ``scale``; and a copy of the weights."""
        there = {name: [p.grad for p in ps if p.grad is not None] for name, ps in self._parts.items()}
        norms = self._norms({name: grads for name, grads in there.items() if grads})
        self.values |= {f"gradient/{name}": norm / scale for name, norm in norms.items()}
        self._before = {name: [local(p).clone() for p in ps] for name, ps in self._parts.items()}

    def after(self) -> Values:
        """After the update: what it changed. Lets go of the copy; returns all values, to six digits."""
        sizes = self._norms(self._before)
        changes = {
            name: [local(p).float() - old.float() for p, old in zip(self._parts[name], olds, strict=True)]
            for name, olds in self._before.items()
        }
        for name, change in self._norms(changes).items():
            still = 0.0 if change == 0 else math.inf  # of a part that was all zeros
            self.values[f"update/{name}"] = change / sizes[name] if sizes[name] else still
        self._before = {}
        return {key: float(f"{value:.6g}") for key, value in self.values.items()}

    @torch.no_grad()
    def _norms(self, tensors: dict[str, list[Any]]) -> Values:
        """The norm of the tensors of each part together, over all processes where they are sharded."""
        if not tensors:
            return {}
        norms = [torch.stack(torch._foreach_norm([local(t).float() for t in ts])) for ts in tensors.values()]
        squares = torch.stack([norm.square().sum() for norm in norms])
        squares = self.group.sum(squares) if self._sharded else squares
        return dict(zip(tensors, squares.sqrt().tolist(), strict=True))


@torch.no_grad()
def activations(model: nn.Module, forward: Callable[[], Any]) -> Values:
    """What happens inside ``model`` in ``forward()``, in evaluation mode and run eagerly: the keys of
    ``Look`` that are of activations."""
    found: Values = {}
    scores: dict[str, _Scores] = {}
    inside = ""  # the block that is running

    def enter(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            nonlocal inside
            inside = name

        return hook

    def leave(name: str) -> Callable[..., None]:
        return lambda module, given, output: found.update(_stream(name, output.float()))

    def attended(call: Attended) -> None:
        scores.setdefault(inside, _Scores()).add(call)

    def end(module: nn.Module, given: Any, output: torch.Tensor) -> None:
        found["logits/out"] = float(_rms(output.float()))

    with ExitStack() as stack:
        for name, block in blocks_of(model):
            stack.callback(block.register_forward_pre_hook(enter(name)).remove)
            stack.callback(block.register_forward_hook(leave(name)).remove)
        stack.callback(model.register_forward_hook(end).remove)
        stack.enter_context(watched(attended))
        stack.enter_context(_evaluating(model))
        forward()
    for name, of_block in scores.items():
        found |= {f"logits/{name}": float(of_block.largest), f"logits-rms/{name}": of_block.rms}
    return found


def blocks_of(model: nn.Module) -> list[tuple[str, Block]]:
    """The blocks of a model with their names, in the order in which they run."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, Block)]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Within, the model is in evaluation mode, and what is compiled runs as it is written."""
    compiled = any(block._compiled_call_impl is not None for _, block in blocks_of(model))
    training = model.training
    model.eval()
    try:
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        model.train(training)


class _Scores:
    """Largest and root mean square of the scores of attention that are not hidden."""

    def __init__(self) -> None:
        self.largest, self.squares, self.count = float("-inf"), 0.0, 0

    def add(self, call: Attended) -> None:
        for scores in scores_of(call):
            seen = scores > float("-inf")
            self.largest = max(self.largest, float(scores.max()))
            self.squares += float(scores.masked_fill(~seen, 0.0).double().square().sum())
            self.count += int(seen.sum())

    @property
    def rms(self) -> float:
        return float((self.squares / self.count) ** 0.5)


def scores_of(call: Attended) -> Iterator[torch.Tensor]:
    """The scores of a call of attention in float32, −∞ where hidden, some queries at a time."""
    call = call._replace(q=call.q.float(), k=call.k.float())
    for block in blocks(call.pattern):
        yield call.scores(*block)


def _stream(name: str, x: torch.Tensor) -> Values:
    found = {"kurtosis": excess_kurtosis(x), "stream": _rms(x), "stream-max": x.abs().max()}
    return {f"{key}/{name}": float(value) for key, value in found.items()}


def excess_kurtosis(x: torch.Tensor) -> torch.Tensor:
    """E(x − μ)⁴/σ⁴ − 3 over all numbers of ``x``: 0 of normal ones, large where few are far out (Bondarenko
    et al. 2023, arXiv:2306.12929, section 5)."""
    x = x.double() - x.double().mean()
    return x.pow(4).mean() / x.square().mean().square() - 3


def _rms(x: torch.Tensor) -> torch.Tensor:
    return x.double().square().mean().sqrt()
