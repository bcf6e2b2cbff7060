"""Tensors in few bits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from danlu.quantization.floats import FP8, MX, NF4, NVFP4
from danlu.quantization.formats import Format, Held, Per, Ranges, rows_of
from danlu.quantization.integers import Grid, Integers, Stretched, Ternary
from danlu.quantization.packing import pack, unpack
from danlu.spec.quantize import full_name

_OTHERS: tuple[Format, ...] = (
    Ternary(), Stretched(), Stretched(levels=3), NF4(), NF4(double=True), FP8(), FP8(element="e5m2"), NVFP4(),
    MX(), MX(rounding="ceil"), MX(element="e4m3"), MX(element="e4m3", rounding="ceil"), MX(element="e5m2"),
    MX(element="e5m2", rounding="ceil"),
)  # fmt: skip
FORMATS: Mapping[str, Format] = {
    format.name: format
    for format in (
        *(Integers(bits=bits, grid=grid) for bits in range(2, 9) for grid in get_args(Grid)),
        *_OTHERS,
    )
}


def named(name: str, per: Per | None = None, scale_type: torch.dtype | None = None) -> Format:
    """The format of a name: ``int4-narrow``, ``int8-affine``, ``nf4``, ``mxfp4``, ``nvfp4``, ``fp8-e4m3``,
    ``ternary``, … (all in ``FORMATS``); ``int4`` is short for ``int4-narrow``. ``per``: which numbers share a
    scale, where the format leaves that open; ``scale_type``: of integers, in which it is kept.

    Raises ValueError for a name that there is not, and for a ``per`` other than that of a format with groups
    of its own.
    """
    full = full_name(name)
    format = FORMATS[full]
    if scale_type is not None and isinstance(format, Integers):
        format = replace(format, scale_type=scale_type)
    if per is None or per == format.per:
        return format
    if isinstance(format, MX | NVFP4):
        raise ValueError(f"per = {per}: {full} has groups of {format.per} by definition; leave per out")
    return replace(format, per=per)


@dataclass(frozen=True)
class Quantized:
    """A tensor of ``shape`` in a ``format``: ``codes`` without gaps (uint8, one dimension), and what is
    ``held`` beside them, zeros as packed as the codes."""

    format: Format
    shape: tuple[int, ...]
    codes: Tensor
    held: Held

    @staticmethod
    def of(codes: Tensor, held: Held, format: Format, shape: tuple[int, ...]) -> Quantized:
        """From codes (rows, size), uint8, and what the format holds of these rows."""
        packed = {name: pack(t, format.levels) if name == "zero" else t for name, t in held.items()}
        return Quantized(format, shape, pack(codes, format.levels), packed)

    @property
    def rows(self) -> tuple[int, int]:
        """How many rows share a scale, and how many numbers each has."""
        count, size = rows_of(torch.empty(self.shape, device="meta"), self.format.per).shape
        return count, size

    @property
    def unpacked(self) -> tuple[Tensor, Held]:
        """Codes (rows, size), uint8, and what the format holds."""
        count, size = self.rows
        levels = self.format.levels
        held = {name: unpack(t, levels, count) if name == "zero" else t for name, t in self.held.items()}
        return unpack(self.codes, levels, count * size).view(count, size), held

    def dequantize(self) -> Tensor:
        """The numbers, float32, of ``shape``."""
        codes, held = self.unpacked
        return self.format.decode(codes, self.format.scales(held)).view(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of all tensors, as a file holds them."""
        return sum(t.numel() * t.element_size() for t in (self.codes, *self.held.values()))

    @property
    def bits(self) -> float:
        """Bits a number, scales and zeros among them."""
        return 8 * self.bytes / max(1, math.prod(self.shape))


@torch.no_grad()
def quantize(x: Tensor, format: Format, ranges: Ranges | None = None) -> Quantized:
    """``x`` rounded to the nearest numbers that ``format`` can hold (RTN).

    ``ranges`` says how far the levels reach (``danlu.quantization.ranges``); left out, nothing is clipped.
    Raises ValueError for numbers that are not finite, and where the format's groups do not divide the last
    dimension.

    >>> quantize(torch.tensor([[0.0, 1.0, -2.2, 7.0]]), named("int4")).dequantize()
    tensor([[ 0.,  1., -2.,  7.]])
    """
    rows = rows_of(x, format.per)
    if bad := int((~torch.isfinite(rows)).sum()):
        raise ValueError(
            f"{bad} of {x.numel()} numbers are infinite or not a number, and no scale of "
            f"{format.name} fits them; look for what made them first"
        )
    held = format.fixed(x).fit(rows, ranges)
    return Quantized.of(format.encode(rows, format.scales(held)), held, format, tuple(x.shape))


def relative_error(x: Tensor, quantized: Tensor) -> float:
    """√(Σ(x̂ − x)²/Σx²)."""
    return float((quantized.double() - x.double()).norm() / x.double().norm())
