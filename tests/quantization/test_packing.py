"""Codes as bytes and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.quantization import pack, unpack


@settings(max_examples=50)
@given(
    levels=st.sampled_from([3, 4, 8, 16, 32, 64, 128, 256]), count=st.integers(0, 67), seed=st.integers(0, 99)
)
def test_unpacking_gives_the_codes_back(levels: int, count: int, seed: int) -> None:
    codes = torch.randint(levels, (count,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    packed = pack(codes, levels)
    assert packed.dtype == torch.uint8 and torch.equal(unpack(packed, levels, count), codes)


@pytest.mark.parametrize(
    ("levels", "count", "size"),
    [(256, 7, 7), (16, 7, 4), (8, 8, 3), (8, 9, 4), (4, 9, 3), (3, 10, 2), (3, 11, 3)],
)
def test_no_bits_are_wasted(levels: int, count: int, size: int) -> None:
    assert pack(torch.zeros(count, dtype=torch.uint8), levels).numel() == size


def test_the_first_code_has_the_lowest_bits() -> None:
    assert pack(torch.tensor([1, 2], dtype=torch.uint8), 16).tolist() == [0x21]
    assert pack(torch.tensor([1, 2], dtype=torch.uint8), 3).tolist() == [1 + 3 * 2]


def test_bytes_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 bytes for 7 codes of 16 levels, which take 4"):
        unpack(torch.zeros(3, dtype=torch.uint8), 16, 7)
