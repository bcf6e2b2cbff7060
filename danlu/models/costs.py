"""What a model costs, told from its shapes: parameters, FLOPs, caches, what a backward pass keeps.

All of it works on PyTorch's meta device, where nothing is computed and nothing allocated, so that a model can
be asked that no machine here could hold: ``with outlines(): model = build(…)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import torch
import torch.nn as nn
from torch.utils._python_dispatch import TorchDispatchMode

from danlu.models import EncoderDecoder, Model, Patches, Transformer
from danlu.models.graph import storage_of
from danlu.models.stack import Stack
from danlu.nn import Attention, Block

PARTS = (
    "embedding",
    "positions",
    "mixer",
    "cross-attention",
    "feed-forward",
    "bottleneck",
    "norms and gains",
    "readout",
)
_BY_NAME = {
    "embedding": "embedding",
    "embedding_projection": "embedding",
    "segments": "embedding",
    "mixer": "mixer",
    "cross": "cross-attention",
    "feed_forward": "feed-forward",
    "narrow": "bottleneck",
    "readout": "readout",
    "readout_projection": "readout",
    "transform": "readout",
}
_BY_FILE = {
    "danlu.nn.positions": "positions",
    "danlu.nn.norms": "norms and gains",
    "danlu.nn.residuals": "norms and gains",
    "danlu.nn.qk_norm": "norms and gains",
}
_BY_FAMILY = {"position": "positions", "norm": "norms and gains", "residual": "norms and gains"}  # own parts


def parameters(model: nn.Module) -> dict[str, int]:
    """The parameters of each part (a key of ``PARTS``, or ``other``); those of a readout that is tied to the
    embedding are the embedding's. They add up to all that there are."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    for module, part in parts_of(model).items():
        for p in module.parameters(recurse=False):
            if id(p) not in seen:
                seen.add(id(p))
                found[part] = found.get(part, 0) + p.numel()
    return {part: found[part] for part in (*PARTS, "other") if part in found}


def parts_of(model: nn.Module) -> dict[nn.Module, str]:
    """The part of each module, in the order of ``model.modules()``: a key of ``PARTS``, or ``other``."""
    found: dict[nn.Module, str] = {}

    def walk(module: nn.Module, part: str) -> None:
        file = type(module).__module__
        part = next((of for name, of in _BY_FILE.items() if file.startswith(name)), part)
        part = _BY_FAMILY.get(getattr(module, "family", ""), part)
        found.setdefault(module, part)
        for name, child in module.named_children():
            walk(child, _BY_NAME.get(name, part) if part == "other" else part)

    walk(model, "other")
    return found


def without_embeddings(parts: dict[str, int]) -> int:
    """The N of scaling laws: what ``parameters`` found but embedding, positions and readout (Kaplan et al.
    2020, section 2.1)."""
    return sum(n for part, n in parts.items() if part not in ("embedding", "positions", "readout"))


def stacks(model: Transformer, *lengths: int) -> list[tuple[Stack, int, int]]:
    """The stacks of blocks, each with the positions of its stream and of the memory that it attends to, for
    inputs of ``lengths``, which are as ``model.flops`` takes them."""
    if isinstance(model, EncoderDecoder):
        memory = lengths[1] if len(lengths) > 1 else lengths[0]
        return [(model.encoder, memory, 0), (model.decoder, lengths[0], memory)]
    return [(model, model.positions if isinstance(model, Patches) else lengths[0], 0)]


def flops(model: Model, *lengths: int) -> dict[str, int]:
    """FLOPs by part of the matrix products of a forward pass over one row of inputs of ``lengths``. They add
    up to ``model.flops(1, *lengths)``. ``pairs`` is the share of the mixers that grows with the square of the
    length; ``mixer`` the rest of them. A network that is no transformer is one part."""
    if not isinstance(model, Transformer):
        return {"other": model.flops(1)}
    found = dict.fromkeys(("mixer", "pairs", "cross-attention", "feed-forward", "bottleneck"), 0)
    for stack, length, memory in stacks(model, *lengths):
        if stack.narrow is not None:
            found["bottleneck"] += stack.narrow.flops(length)
        for block in stack.blocks:
            mixer = cast(Any, block.mixer)
            whole = mixer.flops(1, length)
            pairs = max(0, mixer.flops(1, 2 * length) - 2 * whole) // 2
            found["mixer"] += whole - pairs
            found["pairs"] += pairs
            if block.cross is not None:
                found["cross-attention"] += block.cross.flops_over(1, length, memory)
            found["feed-forward"] += cast(Any, block.feed_forward).flops(length)
    if isinstance(model, Patches):
        found["embedding"] = cast(Any, model.embedding).flops(model.positions)
    found["readout"] = model.end_flops(1 if isinstance(model, Patches) else lengths[0])
    return {part: count for part, count in found.items() if count}


def full_cache_bytes(model: Transformer, length: int, element: int, memory: int = 0) -> int:
    """``model.cache_bytes`` if every query head of every layer had keys and values of its own for every
    position: multi-head attention of the same shape. Mixers but attention count with the width."""
    numbers = 0
    for block in stacks(model, length)[-1][0].blocks:
        mixer, positions = block.mixer, length + (memory if block.cross is not None else 0)
        numbers += 2 * positions * (mixer.heads * mixer.size if isinstance(mixer, Attention) else block.width)
    return numbers * element


def decoding_flops(model: Transformer, length: int, memory: int = 0) -> int:
    """FLOPs of the matrix products of writing one token of one sequence after ``length`` − 1 others, with
    caches, and in an encoder-decoder with the keys and values of a memory of ``memory`` positions."""
    stack = stacks(model, length)[-1][0]
    between = 0 if stack.narrow is None else stack.narrow.flops(1)
    return between + sum(block.decoding_flops(length, memory) for block in stack.blocks) + model.end_flops(1)


class Kept(NamedTuple):
    """Bytes that a training pass keeps from forward to backward: ``activations``, and ``copies`` of weights
    in the type of the activations; both again where blocks are ``recomputed``: what is outside of blocks, the
    input of each block, and what the greatest block keeps. By place, activations alone: ``outside`` of
    blocks, by each of the ``blocks`` what was not kept before it, and the ``inputs`` of all."""

    activations: int
    copies: int
    recomputed_activations: int
    recomputed_copies: int
    outside: int
    blocks: tuple[int, ...]
    inputs: int


class _Casts(TorchDispatchMode):
    """Storages that are a cast of a parameter's."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()
        self.weights = weights
        self.found: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and storage_of(args[0]) in self.weights:
            self.found[storage_of(result)] = result
        return result


def kept(model: Model, forward: Callable[[], Any]) -> Kept:
    """What ``forward``, a training pass of ``model`` without recomputing, keeps for its backward pass.

    Tensors that share memory count once; parameters and buffers, which are held anyway, not at all. The
    figure is what autograd saves; while a pass runs there is a little more, what operators use in between.
    """
    held = {storage_of(t) for t in (*model.parameters(), *model.buffers())}
    outside: dict[int, torch.Tensor] = {}  # tensors, so that no storage is freed and its key taken again
    inside: list[dict[int, torch.Tensor]] = []
    inputs: dict[int, torch.Tensor] = {}
    place = [outside]

    def pack(t: torch.Tensor) -> torch.Tensor:
        if storage_of(t) not in held:
            place[0].setdefault(storage_of(t), t)
        return t

    def enter(block: nn.Module, given: tuple[Any, ...]) -> None:
        inside.append({})
        place[0] = inside[-1]
        inputs.update((storage_of(t), t) for t in given if isinstance(t, torch.Tensor))

    def leave(*_: Any) -> None:
        place[0] = outside

    hooks = [
        hook
        for block in cast(Iterable[Block], model.blocks)
        for hook in (block.register_forward_pre_hook(enter), block.register_forward_hook(leave))
    ]

    def read(end: nn.Module, given: tuple[Any, ...]) -> None:
        """What logits are made of in parts, which are made again, is held beside what autograd saves."""
        pack(given[0])

    ends = (getattr(model, name, None) for name in ("transform", "readout_projection", "readout"))
    hooks += [end.register_forward_pre_hook(read) for end in ends if end is not None][:1]
    try:
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t),
            _Casts({storage_of(p) for p in model.parameters()}) as casts,
        ):
            forward()
    finally:
        for hook in hooks:
            hook.remove()

    def count(*groups: dict[int, torch.Tensor]) -> tuple[int, int]:
        found: dict[int, torch.Tensor] = {}
        for group in groups:
            found |= group
        size = {key: t.untyped_storage().nbytes() for key, t in found.items()}
        copies = sum(n for key, n in size.items() if key in casts.found)
        return sum(size.values()) - copies, copies

    recomputed = max((count(outside, inputs, block) for block in inside), key=sum, default=(0, 0))
    seen = dict(outside)
    blocks = []
    for block in inside:
        blocks.append(count({key: t for key, t in block.items() if key not in seen})[0])
        seen |= block
    return Kept(*count(outside, *inside), *recomputed, count(outside)[0], tuple(blocks), count(inputs)[0])
