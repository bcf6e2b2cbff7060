"""Small integers as bytes, without gaps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TRITS = 5  # in a byte: 3⁵ = 243


def pack(codes: Tensor, levels: int) -> Tensor:
    """``codes``, uint8 of any shape and below ``levels``, as bytes (uint8, one dimension): five ternary ones
    in a byte, others one after another at log₂(levels) bits each, low bits first; the last byte is filled up
    with zeros."""
    codes = codes.flatten()
    if levels == 3:
        powers = 3 ** torch.arange(TRITS, device=codes.device)
        return (_in_rows(codes, TRITS).long() * powers).sum(dim=1).to(torch.uint8)
    bits = bits_of(levels)
    if bits == 8:
        return codes.clone()
    shift = torch.arange(8, dtype=torch.uint8, device=codes.device)
    stream = (codes[:, None] >> shift[:bits]) & 1
    return (_in_rows(stream.flatten(), 8) << shift).sum(dim=1, dtype=torch.uint8)


def unpack(packed: Tensor, levels: int, count: int) -> Tensor:
    """The first ``count`` codes of what ``pack`` made: uint8, one dimension. Raises ValueError where it holds
    another number of bytes than ``count`` codes take."""
    if packed.numel() != bytes_of(levels, count):
        needed = bytes_of(levels, count)
        raise ValueError(f"{packed.numel()} bytes for {count} codes of {levels} levels, which take {needed}")
    if levels == 3:
        powers = 3 ** torch.arange(TRITS, device=packed.device)
        return (packed.long()[:, None] // powers % 3).flatten()[:count].to(torch.uint8)
    bits = bits_of(levels)
    if bits == 8:
        return packed.clone()
    shift = torch.arange(8, dtype=torch.uint8, device=packed.device)
    stream = ((packed[:, None] >> shift) & 1).flatten()[: count * bits].view(count, bits)
    return (stream << shift[:bits]).sum(dim=1, dtype=torch.uint8)


def bits_of(levels: int) -> int:
    """Bits of a code with so many values."""
    return (levels - 1).bit_length()


def bytes_of(levels: int, count: int) -> int:
    """Bytes that ``count`` codes take."""
    return math.ceil(count / TRITS) if levels == 3 else math.ceil(count * bits_of(levels) / 8)


def _in_rows(x: Tensor, size: int) -> Tensor:
    """(rows, size), filled up with zeros."""
    return torch.nn.functional.pad(x, (0, -x.numel() % size)).view(-1, size)
