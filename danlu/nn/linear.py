"""Linear maps and embeddings whose float32 weights serve activations of any precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu.nn import float8
from danlu.nn.stacked import linear

_DEVICE: ContextVar[str | None] = ContextVar("device of new weights", default=None)


@contextmanager
def weights_on_meta() -> Iterator[None]:
    """Within, the weights of new linear maps and embeddings are on the meta device, which holds shapes and no
    numbers; all else is made as ever, with the same random numbers."""
    before = _DEVICE.set("meta")
    try:
        yield
    finally:
        _DEVICE.reset(before)


def _without_numbers(module: nn.Module) -> None:
    """Let go of the weights, where new ones are to be on another device. They were drawn: what a part draws
    after them in its constructor is then what it is without ``weights_on_meta``."""
    if (device := _DEVICE.get()) is not None:
        for name, p in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(p.detach().to(device)))


class Linear(nn.Linear):
    """``nn.Linear`` computing in the precision of its input.

    The weight stays in float32 (the master copy that the optimizer updates) and is cast at use, so
    its gradient arrives in float32. Under FSDP2's mixed precision the weight already has the input's
    type and the cast does nothing. ``rows``: the heights of the matrices that stand one above another in
    the weight, for initialisations that look at a matrix's shape. ``float8``: products in eight bits
    (``danlu.nn.float8``).

    Shapes: (…, in) → (…, out).

    >>> linear = Linear(4, 2)
    >>> linear(torch.ones(4, dtype=torch.bfloat16)).dtype, linear.weight.dtype
    (torch.bfloat16, torch.float32)
    """

    float8 = False
    stackable = True

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, rows: tuple[int, ...] | None = None
    ) -> None:
        super().__init__(inputs, outputs, bias=bias)
        _without_numbers(self)
        self.rows = rows or (outputs,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if self.float8:
            out = float8.linear(x, self.weight)
            return out if bias is None else out + bias
        return linear(x, self.weight.to(x.dtype), bias)

    def flops(self, tokens: int) -> int:
        """FLOPs of the forward pass for ``tokens`` rows (a multiplication and an addition are two)."""
        return 2 * tokens * self.in_features * self.out_features


class Embedding(nn.Embedding):
    """``nn.Embedding``; token ids (…) → vectors (…, width) in the weight's type."""

    stackable = True

    def __init__(self, count: int, width: int) -> None:
        super().__init__(count, width)
        _without_numbers(self)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        if self.weight.ndim == 2:
            return super().forward(ids)
        # Of members: the tables one below another, and each row's ids in that of its member.
        members, count = self.weight.shape[:2]
        own = torch.arange(members, device=ids.device) * count
        own = own.repeat_interleave(len(ids) // members).view(-1, *[1] * (ids.ndim - 1))
        return F.embedding(ids + own, self.weight.flatten(0, 1))
