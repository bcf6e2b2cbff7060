"""Rectified rotary positions: each pair turned by min(i − j, window)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.utils.flop_counter import FlopCounterMode

from danlu.nn.positions import ReRotary, Rotary

HEADS, SIZE = 2, 6


def draw(*positions, dtype=torch.float64, size=SIZE):
    return [torch.randn(2, HEADS, count, size, dtype=dtype) for count in positions]


def by_pairs(q, k, offset, base, window):
    """The definition: every pair on its own, as complex numbers, in float64."""
    half = q.shape[-1] // 2
    frequencies = base ** (-2 * torch.arange(half, dtype=torch.float64) / q.shape[-1])
    q, k = (torch.complex(t[..., :half], t[..., half:]) for t in (q, k))
    products = torch.empty(*q.shape[:-1], k.shape[-2], dtype=torch.float64)
    for i in range(q.shape[-2]):
        for j in range(k.shape[-2]):
            turn = torch.exp(1j * min(offset + i - j, window) * frequencies)
            products[..., i, j] = (q[..., i, :] * turn * k[..., j, :].conj()).real.sum(-1)
    return products


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9), st.integers(0, 25), st.integers(0, 3), st.integers(1, 30), st.integers(1, 4),
    st.sampled_from([100.0, 10000.0]),
)  # fmt: skip
def test_products_are_the_definition(count, offset, after, window, half, base):
    """Keys after the query included. Angles are float32, off by at most 4·2⁻²⁴ for each unit of position,
    on both sides."""
    q, k = draw(count, offset + count + after, size=2 * half)
    got = ReRotary(HEADS, 2 * half, base=base, window=window).products(q, k, offset)
    furthest = max(window, offset + count + after)
    bound = q.norm(dim=-1).max() * k.norm(dim=-1).max() * 2 * 4 * 2.0**-24 * furthest + 1e-6
    assert (got - by_pairs(q, k, offset, base, window)).abs().max() <= bound


@pytest.mark.parametrize("window", [12, 13, 100])
def test_a_window_of_the_whole_length_is_rotary(window):
    q, k = draw(12, 12, dtype=torch.float32)
    rotary = Rotary(SIZE)
    assert torch.equal(ReRotary(HEADS, SIZE, window=window).products(q, k), rotary(q) @ rotary(k).mT)


@pytest.mark.parametrize("window", [1, 4, 11, 20])
def test_decoding_is_the_last_rows(window):
    rerope = ReRotary(HEADS, SIZE, window=window)
    q, k = draw(17, 17)
    whole = rerope.products(q, k)
    for offset in (16, 12, 1):
        last = rerope.products(q[:, :, offset:], k, offset)
        torch.testing.assert_close(last, whole[..., offset:, :], rtol=1e-6, atol=1e-6)


def test_beyond_the_window_distances_are_one():
    rerope = ReRotary(HEADS, SIZE, window=5)
    q, k = (t.expand(-1, -1, 30, -1) for t in draw(1, 1))  # the same vectors at every position
    products = rerope.products(q, k)
    far = torch.stack([products.diagonal(-lag, -2, -1)[..., 0] for lag in range(5, 30)])
    assert (far - far[0]).abs().max() <= 1e-12
    assert (products[..., 5, 0] - products[..., 4, 0]).abs().min() > 1e-4


@pytest.mark.parametrize("window", [2, 9])
def test_gradcheck(window):
    rerope = ReRotary(HEADS, SIZE, window=window)
    q, k = (t.requires_grad_() for t in draw(3, 7))
    assert gradcheck(lambda q, k: rerope.products(q, k, 4), (q, k))


def test_bfloat16_is_close():
    """Six roundings along the way of a product (turns 3, 1 each side, the sum): 8 · 2⁻⁹ |q| |k|."""
    rerope = ReRotary(HEADS, SIZE, window=5)
    q, k = draw(20, 20, dtype=torch.bfloat16)
    error = (rerope.products(q, k).float() - rerope.products(q.float(), k.float())).abs()
    lengths = q.float().norm(dim=-1)[..., None] * k.float().norm(dim=-1)[..., None, :]
    assert (error <= 8 * 2.0**-9 * lengths).all()


@pytest.mark.parametrize("window", [3, 8, 20])
def test_flops_are_those_counted(window):
    rerope = ReRotary(HEADS, SIZE, window=window)
    q, k = draw(8, 8, dtype=torch.float32)
    with FlopCounterMode(display=False) as counter:
        rerope.products(q, k)
    assert counter.get_total_flops() == 2 * 2 * HEADS * 8 * 8 * SIZE + rerope.flops(2, 8)


def test_inference_mode_does_not_spoil_later_training():
    rerope = ReRotary(HEADS, SIZE, window=3)
    q, k = draw(8, 8, dtype=torch.float32)
    with torch.inference_mode():
        before = rerope.products(q, k)
    after = rerope.products(q.requires_grad_(), k)
    after.sum().backward()
    assert torch.equal(before, after)


def test_compiled_is_eager():
    rerope = ReRotary(HEADS, SIZE, window=3)
    q, k = draw(8, 8, dtype=torch.float32)
    compiled = torch.compile(rerope.products, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(q, k), rerope.products(q, k), rtol=0, atol=1e-5)


def test_an_odd_size_is_refused():
    with pytest.raises(ValueError, match="even"):
        ReRotary(HEADS, 5)
