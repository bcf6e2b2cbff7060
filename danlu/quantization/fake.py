"""Fake quantisation: rounded numbers forward, gradients straight through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.quantization.formats import Format, Held, Ranges, Scales, rows_of


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, format: Format, scales: Scales) -> Tensor:
        ctx.save_for_backward(format.inside(rows, scales))
        return format.nearest(rows, scales).to(rows.dtype)

    @staticmethod
    def backward(ctx: Any, *dy: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return dy[0] * inside, None, None


def fake_quantize(
    x: Tensor, format: Format, held: Held | None = None, ranges: Ranges | None = None
) -> Tensor:
    """``x`` as it is after quantising and dequantising, bit for bit, in its type; dx = dy where x is not
    clipped (``format.inside``) and 0 elsewhere (the straight-through estimator, Bengio et al. 2013).

    ``held``: the scales, as ``format.fit`` gives them; left out, they are taken from ``x`` itself, as a
    constant: no gradient flows through them. Raises ValueError where groups do not divide the last dimension.

    >>> from danlu.quantization import named
    >>> x = torch.tensor([[0.4, 1.6, 9.0]], requires_grad=True)
    >>> y = fake_quantize(x, named("int4"), {"scale": torch.ones(1)})
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([[0.0, 2.0, 7.0]], [[1.0, 1.0, 0.0]])
    """
    rows = rows_of(x, format.per)
    scales = format.scales(format.fit(rows.detach(), ranges) if held is None else held)
    quantized: Tensor = _StraightThrough.apply(rows, format, scales)
    return quantized.view(x.shape)
