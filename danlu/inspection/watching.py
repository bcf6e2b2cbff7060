"""What happens inside danlu's blocks in a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from danlu.inspection import numbers
from danlu.inspection.attending import KEYS, Attention
from danlu.nn import Block
from danlu.nn.kernels import Attended, watched

Values = dict[str, float]


@torch.no_grad()
def activations(
    model: nn.Module, forward: Callable[[], Any], *, whole: bool = False, logits: bool = True
) -> Values:
    """What happens inside ``model`` in ``forward()``, in evaluation mode and run eagerly: the statistics of
    ``danlu.inspection.table`` that are of activations, by name and layer. ``whole``: also the dear ones.
    ``logits``: whether the output is logits, and not the numbers that are predicted.

    A layer is a block by its name, ``blocks.0.cross`` its attention to a memory, ``out`` the model's output.
    """
    watch = _Watch(whole, logits)
    with ExitStack() as stack:
        for name, block in blocks_of(model):
            watch.block(name, block, stack)
        stack.callback(model.register_forward_hook(watch.end).remove)
        stack.enter_context(watched(watch.attended))
        stack.enter_context(evaluating(model))
        forward()
    return watch.values()


class _Watch:
    """Hooks, and what they have seen so far."""

    def __init__(self, whole: bool, logits: bool) -> None:
        self.whole, self.logits = whole, logits
        self.inside = ""  # the layer whose attention runs
        self.found: Values = {}
        self.attention: dict[str, Attention] = {}
        self.before: dict[str, Tensor] = {}  # the stream before the block
        self.several: dict[str, dict[str, list[Tensor]]] = {}  # statistics of several tensors of a layer

    def block(self, name: str, block: Block, stack: ExitStack) -> None:
        """Watch a block, until the ``stack`` is left."""

        def enter(module: nn.Module, given: Any) -> None:
            self.inside = name if block.mixes else f"{name}.cross"
            self.before[name] = given[0]

        def mixed(module: nn.Module, given: Any, output: Any) -> None:
            self.inside = f"{name}.cross"  # attention to a memory comes next

        def leave(module: nn.Module, given: Any, output: Tensor) -> None:
            self._found(cheap(output.float()), name)
            before = self.before.pop(name)
            if self.whole:
                self._found(dear(output.float(), before.float()), name)
                self._one_of(name, output)

        def hidden(module: nn.Module, given: Any) -> None:
            self._found({"dead": float(numbers.dead(given[0]))}, name)
            if self.whole:
                self._found({"dormant": float(numbers.dormant(given[0]))}, name)

        stack.callback(block.register_forward_pre_hook(enter).remove)
        stack.callback(block.register_forward_hook(leave).remove)
        if block.cross is not None:
            stack.callback(block.mixer.register_forward_hook(mixed).remove)
        if (out := hidden_of(block)) is not None:
            stack.callback(out.register_forward_pre_hook(hidden).remove)
        for what in ("mixer", "feed_forward") if self.whole else ():
            self._branch(name, what, block, stack)

    def _branch(self, name: str, what: str, block: Block, stack: ExitStack) -> None:
        def branch(module: nn.Module, given: Any, output: Tensor) -> None:
            self._found({"branch": float(numbers.rms(output.float()))}, f"{name}.{what}")
            self._one_of(name, output)

        def norm(module: nn.Module, given: Any, output: Tensor) -> None:
            self._one_of(name, output)

        stack.callback(getattr(block, what).register_forward_hook(branch).remove)
        if (its := getattr(block, f"{what}_norm", None)) is not None:
            stack.callback(its.register_forward_hook(norm).remove)

    def _one_of(self, name: str, x: Tensor) -> None:
        """One of the tensors over which Bondarenko et al. take the mean, or the largest: block, both norms,
        attention and feed-forward."""
        if x.dim() != 3:
            return
        seen = self.several.setdefault(name, {})
        for end, part in (("", x.float()), ("-rest", x.float()[:, 1:])):
            if part.shape[1]:
                seen.setdefault(f"kurtosis-sequence{end}", []).append(numbers.sequence_kurtosis(part))
                seen.setdefault(f"sequence-max{end}", []).append(numbers.sequence_max(part))

    def attended(self, call: Attended) -> None:
        layer = self.inside
        if layer not in self.attention:
            self.attention[layer] = Attention(to_itself=not layer.endswith(".cross"))
        self.attention[layer].add(call)

    def end(self, module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            x = output.float()
            self._found(of_logits(x) if self.logits else {"branch": float(numbers.rms(x))}, "out")

    def values(self) -> Values:
        for name, of_layer in self.attention.items():
            self._found(of_layer.values(keys=KEYS if self.whole else 1), name)
        for name, seen in self.several.items():
            for what, values in seen.items():
                many = torch.stack(values)
                self._found(
                    {what: float(many.max() if what.startswith("sequence-max") else many.mean())}, name
                )
        return self.found

    def _found(self, values: Values, layer: str) -> None:
        self.found |= {f"{name}/{layer}": value for name, value in values.items()}


def cheap(x: Tensor) -> Values:
    """Of the stream (batch, positions, width) after a block, what is quickly told."""
    found = {"kurtosis": numbers.excess_kurtosis(x), "stream": numbers.rms(x), "stream-max": x.abs().max()}
    if x.dim() == 3 and x.shape[1] > 1:
        rest = x[:, 1:]
        found |= {
            "kurtosis-rest": numbers.excess_kurtosis(rest),
            "stream-max-rest": rest.abs().max(),
            "peak": numbers.first_to_others(x),
        }
    return {name: float(value) for name, value in found.items()}


def dear(x: Tensor, before: Tensor) -> Values:
    """Of the stream after a block, and ``before`` it, what takes longer."""
    found = {
        "growth": numbers.rms(x) / numbers.rms(before),
        "influence": numbers.influence(before, x),
        "kurtosis-token": numbers.token_kurtosis(x),
        "cosine": numbers.mean_cosine(x),
    }
    values = numbers.singular_values(x)
    found |= {"rank": numbers.effective_rank(values), "stable-rank": numbers.stable_rank(values)}
    if x.dim() == 3 and x.shape[1] > 1:
        rest = x[:, 1:]
        values = numbers.singular_values(rest)
        found |= {
            "massive": numbers.massive(x),
            "kurtosis-token-rest": numbers.token_kurtosis(rest),
            "massive-rest": numbers.massive(rest),
            "rank-rest": numbers.effective_rank(values),
            "stable-rank-rest": numbers.stable_rank(values),
        }
    return {name: float(value) for name, value in found.items()}


def of_logits(logits: Tensor) -> Values:
    """Of the model's output (…, classes)."""
    found = {"logits": numbers.rms(logits), "logits-max": logits.abs().max()}
    if logits.dim() > 1 and logits.shape[-1] > 1:
        found["logz"] = numbers.log_partition(logits)
    return {name: float(value) for name, value in found.items()}


def stream_gradients(model: nn.Module, backward: Callable[[], Any]) -> Values:
    """The root mean square of the loss's gradient at the stream after each block; ``backward()`` makes a pass
    and goes back. Parameters get their gradients."""
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, output: Tensor) -> None:
            if output.requires_grad:
                output.retain_grad()
                kept[name] = output

        return hook

    with ExitStack() as stack:
        for name, block in blocks_of(model):
            stack.callback(block.register_forward_hook(keep(name)).remove)
        stack.enter_context(evaluating(model))
        backward()
    return {
        f"stream-gradient/{name}": float(numbers.rms(x.grad.float()))
        for name, x in kept.items()
        if x.grad is not None
    }


def blocks_of(model: nn.Module) -> list[tuple[str, Block]]:
    """The blocks of a model with their names, in the order in which they run."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, Block)]


def hidden_of(block: Block) -> nn.Module | None:
    """The map that reads the hidden units of a block's feed-forward layer; None where it has none."""
    try:
        return block.feed_forward.out
    except AttributeError:
        return None


def outputs(modules: list[Any], forward: Callable[[], Any]) -> list[Any]:
    """What the modules return in ``forward()``, in the order in which they run."""
    found: list[Any] = []
    with ExitStack() as stack:
        for module in modules:
            handle = module.register_forward_hook(lambda module, given, output: found.append(output))
            stack.callback(handle.remove)
        forward()
    return found


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within, the model is in evaluation mode, and what is compiled runs as it is written."""
    compiled = any(block._compiled_call_impl is not None for _, block in blocks_of(model))
    training = model.training
    model.eval()
    try:
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        model.train(training)
