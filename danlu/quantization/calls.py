"""What the blocks of a model are called with, and what reaches the maps inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from danlu.models import Decoder, Encoder, Patches
from danlu.nn import Block

Call = tuple[Any, ...]  # the arguments of a block, the stream first


class _Reached(Exception):
    """The first block was reached; what comes after need not be computed."""


def blocks_of(model: nn.Module) -> Sequence[Block]:
    """The blocks of a decoder, an encoder or patches. Raises ValueError for other models."""
    if not isinstance(model, Decoder | Encoder | Patches):
        raise ValueError(
            f"the model is a {type(model).__name__}; allowed: decoder, encoder, patches, which have "
            "blocks of a transformer"
        )
    return model.blocks


@torch.no_grad()
def first_calls(model: nn.Module, inputs: Iterable[Any]) -> list[Call]:
    """What the first block is called with for each of ``inputs``: what ``model`` is called with, or functions
    that call it. Raises ValueError as ``blocks_of``, and where there are no inputs."""
    first = blocks_of(model)[0]
    calls: list[Call] = []

    def reached(block: nn.Module, args: Call) -> None:
        calls.append(args)
        raise _Reached

    hook = first.register_forward_pre_hook(reached)
    try:
        for x in inputs:
            try:
                x(model) if callable(x) else model(x)
            except _Reached:
                continue
    finally:
        hook.remove()
    if not calls:
        raise ValueError("no inputs were given to take activations from; give some batches")
    return calls


@torch.no_grad()
def next_calls(block: nn.Module, calls: Sequence[Call]) -> list[Call]:
    """What the block after ``block`` is called with."""
    return [(block(*args), *args[1:]) for args in calls]


@torch.no_grad()
def watch(
    block: nn.Module,
    calls: Sequence[Call],
    modules: Iterable[nn.Module],
    see: Callable[[nn.Module, Tensor], None],
) -> None:
    """Run ``block`` on ``calls`` and show ``see`` what comes into ``modules``."""
    hooks = [m.register_forward_pre_hook(lambda module, args: see(module, args[0])) for m in modules]
    try:
        for args in calls:
            block(*args)
    finally:
        for hook in hooks:
            hook.remove()
