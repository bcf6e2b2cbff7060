"""Codes as bytes and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.quantization import named, pack, quantize, unpack
from danlu.quantization.kept import apart


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


@pytest.mark.parametrize("bits", range(2, 9))
def test_numpy_packs_the_same_bytes(bits: int) -> None:
    """The bits of all codes in a row, low bits first, as ``numpy.packbits`` makes bytes of bits."""
    codes = np.random.default_rng(bits).integers(2**bits, size=101, dtype=np.uint8)
    stream = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, :bits]
    wanted = np.packbits(stream.flatten(), bitorder="little")
    assert np.array_equal(pack(torch.from_numpy(codes), 2**bits).numpy(), wanted)


@pytest.mark.parametrize(
    ("name", "group", "half"),
    [("int4-narrow", 16, True), ("int4-narrow", 48, False), ("int8-narrow", 48, True),
     ("int4-affine", 16, True), ("int8-affine", 48, False), ("int4-full", 16, False),
     ("int4-unclipped", 16, True)],
)  # fmt: skip
def test_numpy_reads_what_a_file_holds(name: str, group: int, half: bool) -> None:
    """Codes, scales and zeros of a weight derived again in numpy from the grid's definition, and the weight
    read back from the bytes alone: equal in every bit."""
    weight = np.random.default_rng(0).standard_normal((6, 48)).astype(np.float32)
    kept = torch.float16 if half else torch.float32
    q = quantize(torch.from_numpy(weight), named(name, group, kept))
    tensors, record = apart({"w": q})
    assert record["w"]["shape"] == [6, 48]
    bits, grid = int(name[3]), name.partition("-")[2]
    rows, levels = weight.reshape(-1, group), 2**bits
    high, low = rows.max(1).clip(min=0), rows.min(1).clip(max=0)
    most = np.maximum(high, -low)
    top, bottom = levels // 2 - 1, -levels // 2
    scale = {
        "narrow": most / np.float32(top),
        "full": most / np.float32((levels - 1) / 2),
        "unclipped": np.maximum(-low / np.float32(-bottom), high / np.float32(top)),
        "affine": (high - low) / np.float32(levels - 1),
    }[grid].astype(np.float16 if half else np.float32)
    assert np.array_equal(tensors["w:scale"].numpy(), scale)

    exact = scale.astype(np.float32)[:, None]
    zero = np.zeros_like(exact)
    if grid == "affine":
        zero = (bottom - np.rint(low[:, None] * (np.float32(1) / exact))).clip(bottom, top)
        assert np.array_equal(read(tensors["w:zero"], bits, len(rows)) + bottom, zero[:, 0])
    levels_of = np.rint(rows * (np.float32(1) / exact)) + zero
    levels_of = levels_of.clip(-top if grid == "narrow" else bottom, top)
    codes = read(tensors["w:codes"], bits, rows.size).reshape(rows.shape)
    assert np.array_equal(codes + bottom, levels_of)
    numbers = (exact * (codes.astype(np.float32) + bottom - zero)).astype(np.float32)
    assert np.array_equal(q.dequantize().numpy(), numbers.reshape(weight.shape))
    assert np.abs(numbers - rows).max() < 0.51 * scale.max() * (2 if grid == "full" else 1)


def read(packed: torch.Tensor, bits: int, count: int) -> np.ndarray:
    """Codes from bytes: int64 (count,)."""
    stream = np.unpackbits(packed.numpy(), bitorder="little")[: count * bits].reshape(count, bits)
    return stream.astype(np.int64) @ (1 << np.arange(bits))
