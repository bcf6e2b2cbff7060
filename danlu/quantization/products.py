"""Products of integers: what fake quantisation stands for."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from danlu.quantization.formats import Format, rows_of
from danlu.quantization.integers import Integers
from danlu.quantization.quantized import Quantized

OF_INPUTS, OF_WEIGHTS = ("token", "tensor"), ("channel", "token", "tensor")  # scales that leave the sum


class Whole(NamedTuple):
    """Numbers scale · (integers − zero): int8 (rows, size); float32 (rows or 1, 1), zero None for 0."""

    integers: Tensor
    scale: Tensor
    zero: Tensor | None


def integer_linear(x: Quantized, weight: Quantized, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b by int8 products with exact int32 sums: y = s_x·s_w·(Σ q_x q_w − z_x·Σ q_w), float32.

    ``x`` (…, in): integers of at most 8 bits, a scale for each token or one for all, affine or symmetric.
    ``weight`` (out, in): symmetric, a scale for each channel or one. Gives (…, out). Raises ValueError for
    other formats: scales of groups cannot be taken out of the sum.
    """
    y = multiply(whole(x, "x", OF_INPUTS), whole(weight, "weight", OF_WEIGHTS), bias)
    return y.view(*x.shape[:-1], -1)


def round_and_multiply(x: Tensor, inputs: Integers, weight: Whole, bias: Tensor | None = None) -> Tensor:
    """``integer_linear`` of ``x`` (…, in) in the format ``inputs``, in the type of ``x``."""
    rows = rows_of(x, inputs.per)
    scales = inputs.scales(inputs.fit(rows))
    integers = inputs.integers(rows, scales).to(torch.int8).view(-1, x.shape[-1])
    y = multiply(Whole(integers, *scales), weight, bias)
    return y.view(*x.shape[:-1], -1).to(x.dtype)


def multiply(x: Whole, weight: Whole, bias: Tensor | None = None) -> Tensor:
    """y (rows of ``x``, rows of ``weight``), float32. Raises ValueError for weights with zeros."""
    if weight.zero is not None:
        raise ValueError("weight has the grid affine; allowed here: narrow, full, unclipped")
    a, b = x.integers, weight.integers
    if a.is_cuda:
        a, b = filled(a, 32), filled(b)
    sums = torch._int_mm(a, b.T)[: len(x.integers), : len(weight.integers)]
    if x.zero is not None:
        sums = sums - x.zero.int() * weight.integers.int().sum(dim=1, dtype=torch.int32)
    y = sums.float() * x.scale * weight.scale.T
    return y if bias is None else y + bias


def filled(x: Tensor, least: int = 8) -> Tensor:
    """``x`` (rows, size) with zeros added, which change no sum: cuBLAS multiplies int8 numbers where sizes
    are multiples of 8, and the first factor has more than 16 rows."""
    rows, size = x.shape
    return torch.nn.functional.pad(x, (0, -size % 8, 0, max(least - rows, -rows % 8)))


def multiplies(inputs: Format | None, weight: Format) -> bool:
    """Whether integers in these formats can be multiplied."""
    return (
        isinstance(inputs, Integers)
        and isinstance(weight, Integers)
        and weight.grid != "affine"
        and inputs.per in OF_INPUTS
        and weight.per in OF_WEIGHTS
    )


def whole(q: Quantized, name: str, allowed: tuple[str, ...]) -> Whole:
    """The integers of ``q`` as int8. Raises ValueError for another format."""
    format = q.format
    if not isinstance(format, Integers) or format.per not in allowed:
        raise ValueError(
            f"{name} has the format {format.name} per {format.per}; allowed in products of integers: int2 to "
            f"int8 per {' or '.join(allowed)}"
        )
    codes, held = q.unpacked
    integers = (codes.short() - 2 ** (format.bits - 1)).to(torch.int8)
    return Whole(integers.view(-1, q.shape[-1]), *format.scales(held))
