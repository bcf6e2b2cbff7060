"""Tensors that follow from hashable arguments, such as masks: made once, and kept while there is room."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import ParamSpec

import torch

Arguments = ParamSpec("Arguments")
ROOM = 256 * 2**20  # bytes on a device: a mask of 16,384 positions


def kept(make: Callable[Arguments, torch.Tensor]) -> Callable[Arguments, torch.Tensor]:
    """A decorator: what the function made is kept by its arguments, the latest of it, at most ``ROOM`` bytes
    on a device. A compiled graph makes its own: a compiler does not look into caches, and a graph that filled
    one would be compiled anew. What a transform of torch.func wraps, or a fake tensor, is not kept: it is of no
    use after the call in which it was made."""
    held: dict[Hashable, torch.Tensor] = {}

    @functools.wraps(make)
    def call(*arguments: Arguments.args, **more: Arguments.kwargs) -> torch.Tensor:
        if torch.compiler.is_compiling():
            return make(*arguments, **more)
        key = (arguments, *more.items())
        tensor = held.get(key)
        if tensor is None:
            with torch.inference_mode(False):  # what is made in it could not be kept for a backward pass
                tensor = make(*arguments, **more)
            if type(tensor) is not torch.Tensor or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
                return tensor
            held[key] = tensor
            beside = [k for k, t in held.items() if t.device == tensor.device]
            size = sum(held[k].nbytes for k in beside)
            for k in beside:
                if size > ROOM:
                    size -= held.pop(k).nbytes
        return tensor

    return call
