"""Products of integers: what fake quantisation stands for."""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.quantization.integers import Integers
from danlu.quantization.quantized import Quantized


def integer_linear(x: Quantized, weight: Quantized, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b by int8 products with exact int32 sums: y = s_x·s_w·(Σ q_x q_w − z_x·Σ q_w), float32.

    ``x`` (…, in): integers of at most 8 bits, a scale for each token or one for all, affine or symmetric.
    ``weight`` (out, in): symmetric, a scale for each channel or one. Gives (…, out). Raises ValueError for
    other formats: scales of groups cannot be taken out of the sum.
    """
    q_x, s_x, z_x = _integers(x, "x", ("token", "tensor"))
    q_w, s_w, z_w = _integers(weight, "weight", ("channel", "token", "tensor"))
    if z_w is not None:
        raise ValueError("weight has the grid affine; allowed here: narrow, full, unclipped")
    sums = torch._int_mm(q_x, q_w.T)
    if z_x is not None:
        sums = sums - z_x.int() * q_w.int().sum(dim=1, dtype=torch.int32)
    y = sums.float() * s_x * s_w.T
    y = y if bias is None else y + bias
    return y.view(*x.shape[:-1], -1)


def _integers(q: Quantized, name: str, allowed: tuple[str, ...]) -> tuple[Tensor, Tensor, Tensor | None]:
    """The integers as int8 (rows, last dimension); scale and zero (rows or 1, 1)."""
    format = q.format
    if not isinstance(format, Integers) or format.per not in allowed:
        raise ValueError(
            f"{name} has the format {format.name} per {format.per}; allowed in products of integers: int2 to "
            f"int8 per {' or '.join(allowed)}"
        )
    codes, held = q.unpacked
    integers = (codes.short() - 2 ** (format.bits - 1)).to(torch.int8)
    return integers.view(-1, q.shape[-1]), *format.scales(held)
