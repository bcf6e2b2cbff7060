"""Outlines: modules on PyTorch's meta device, which have shapes and types and no numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _Undrawn(TorchFunctionMode):
    """Draws no normal numbers. On the meta device there are none to draw, and PyTorch imports its compiler to
    find that out, which takes longer than all else that an outline needs."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") == "normal_":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def outlines() -> Iterator[None]:
    """Within, what is built is an outline, and nothing is allocated.

    >>> with outlines():
    ...     module = torch.nn.Embedding(10**9, 10**6)
    >>> module.weight.device.type
    'meta'
    """
    with _Undrawn(), torch.device("meta"):
        yield
