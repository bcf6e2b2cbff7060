"""Tensors that follow from hashable arguments, such as masks: made once, and kept while there is room."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ParamSpec

import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

Arguments = ParamSpec("Arguments")
ROOM = 256 * 2**20  # bytes on a device: a mask of 16,384 positions


def lasting() -> AbstractContextManager[None]:
    """Within, tensors are made as if nothing were around: made in inference mode they could not be kept for a
    backward pass, and what a transform of torch.func has wrapped is of no use after it."""
    return torch.inference_mode(False) if torch.compiler.is_compiling() else _alone()


@contextmanager
def _alone() -> Iterator[None]:
    with temporarily_clear_interpreter_stack(), torch.inference_mode(False):
        yield


def kept(make: Callable[Arguments, torch.Tensor]) -> Callable[Arguments, torch.Tensor]:
    """A decorator: what the function made is kept by its arguments, the latest of it, at most ``ROOM`` bytes
    on a device. A compiled graph makes its own: a compiler does not look into caches, and a graph that filled
    one would be compiled anew."""
    held: dict[Hashable, torch.Tensor] = {}

    @functools.wraps(make)
    def call(*arguments: Arguments.args, **more: Arguments.kwargs) -> torch.Tensor:
        if torch.compiler.is_compiling():
            return make(*arguments, **more)
        key = (arguments, *more.items())
        tensor = held.get(key)
        if tensor is None:
            with lasting():
                tensor = held[key] = make(*arguments, **more)
            beside = [k for k, t in held.items() if t.device == tensor.device]
            size = sum(held[k].nbytes for k in beside)
            for k in beside:
                if size > ROOM:
                    size -= held.pop(k).nbytes
        return tensor

    return call
