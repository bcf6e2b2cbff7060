"""Rotary positions: a rotation by position × frequency, and what follows from it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from danlu.nn import Learned, Rotary, rotate

POSITIONS, SIZE = 9, 12


def exact(x, start=0, base=10000.0):
    """The definition (Su et al. 2021, eq. 34) on complex numbers x_i + i·x_{i+d/2}, in float64."""
    half = x.shape[-1] // 2
    positions = torch.arange(start, start + x.shape[-2], dtype=torch.float64)[:, None]
    frequencies = base ** (-2 * torch.arange(half, dtype=torch.float64) / x.shape[-1])
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.exp(1j * positions * frequencies)
    return torch.cat((turned.real, turned.imag), dim=-1)


def table(positions=POSITIONS, size=SIZE):
    angles = torch.randn(positions, size // 2, dtype=torch.float64)
    return angles.cos(), angles.sin()


def test_rotate_gradcheck():
    cos, sin = table()
    x = torch.randn(2, POSITIONS, SIZE, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: rotate(x, cos, sin), (x,))
    assert gradgradcheck(lambda x: rotate(x, cos, sin), (x,))


def test_rotate_takes_strided_input():
    cos, sin = table()
    x = torch.randn(2, POSITIONS, 3, SIZE, dtype=torch.float64).transpose(1, 2).requires_grad_()
    assert gradcheck(lambda x: rotate(x, cos, sin), (x,))
    torch.testing.assert_close(rotate(x, cos, sin), rotate(x.contiguous(), cos, sin), rtol=0, atol=0)


def test_rotate_keeps_the_norm_of_every_pair():
    cos, sin = table()
    x = torch.randn(4, POSITIONS, SIZE, dtype=torch.float64)
    y = rotate(x, cos, sin)
    pairs = [t.unflatten(-1, (2, -1)).norm(dim=-2) for t in (x, y)]
    torch.testing.assert_close(*pairs, rtol=1e-13, atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 8).map(lambda n: 2 * n),
    st.integers(1, 20),
    st.integers(0, 3000),
    st.sampled_from([100.0, 10000.0, 500000.0]),
    st.sampled_from(["half", "interleaved"]),
)
def test_rotary_is_the_definition(size, positions, start, base, layout):
    """Angles are float32, so a position p is off by at most p·2⁻²⁴ radians for each rounding (three)."""
    x = torch.randn(2, 3, positions, size, dtype=torch.float64)
    y = Rotary(size, base=base, layout=layout)(x, start)
    if layout == "interleaved":
        x, y = (torch.cat((t[..., 0::2], t[..., 1::2]), dim=-1) for t in (x, y))
    bound = 4 * (start + positions) * 2.0**-24 * x.abs().max() * 2 + 1e-6
    assert (y - exact(x, start, base)).abs().max() <= bound


def test_interleaved_is_half_under_the_permutation():
    """Dimension 2i of one layout is i of the other, 2i + 1 is i + d/2."""
    half, interleaved = Rotary(SIZE), Rotary(SIZE, layout="interleaved")
    order = torch.arange(SIZE).unflatten(0, (2, -1)).T.flatten()  # 0, d/2, 1, d/2 + 1, …
    x = torch.randn(2, 3, POSITIONS, SIZE)
    assert torch.equal(interleaved(x[..., order], 5), half(x, 5)[..., order])


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_products_depend_on_relative_positions_alone(layout):
    rotary = Rotary(SIZE, layout=layout)
    q, k = torch.randn(2, 1, 1, 1, SIZE, dtype=torch.float64)
    q, k = (t.expand(1, 1, 40, SIZE) for t in (q, k))  # the same vector at every position
    products = (rotary(q) @ rotary(k).transpose(-1, -2))[0, 0]
    shifted = (rotary(q, 1000) @ rotary(k, 1000).transpose(-1, -2))[0, 0]
    bound = 4 * 2.0**-24 * q.norm() * k.norm()  # for each unit of position, see above
    for lag in range(-39, 40):
        diagonal = products.diagonal(lag)
        assert (diagonal - diagonal[0]).abs().max() <= bound * 80
    assert (products - shifted).abs().max() <= bound * 2 * 1040
    assert (products.diagonal(3)[0] - products.diagonal(4)[0]).abs() > 1e-3  # but they do depend on them


def test_start_is_an_offset():
    """Position by position, in any order, gives what all positions at once give."""
    rotary = Rotary(SIZE)
    x = torch.randn(2, 3, POSITIONS, SIZE)
    whole = rotary(x)
    assert torch.equal(whole[:, :, :1], x[:, :, :1])  # position 0 stays
    for i in reversed(range(POSITIONS)):
        assert torch.equal(rotary(x[:, :, i : i + 1], i), whole[:, :, i : i + 1])


def test_types_are_kept():
    rotary = Rotary(SIZE)
    for dtype in (torch.float32, torch.bfloat16, torch.float64, torch.float32):
        x = torch.randn(1, 1, POSITIONS, SIZE, dtype=dtype)
        assert rotary(x).dtype == dtype


def test_inference_mode_does_not_spoil_later_training():
    rotary = Rotary(SIZE)
    with torch.inference_mode():
        before = rotary(torch.ones(1, 1, POSITIONS, SIZE))
    x = torch.ones(1, 1, POSITIONS, SIZE, requires_grad=True)
    y = rotary(x)
    y.sum().backward()
    assert torch.equal(y, before)


def test_an_odd_size_is_refused():
    with pytest.raises(ValueError, match="even"):
        Rotary(5)


def test_learned_positions_are_rows_of_the_table():
    learned = Learned(4, length=6)
    assert torch.equal(learned.at(2, 3), learned(torch.tensor([2, 3, 4])))
    learned.at(2, 4)
    with pytest.raises(ValueError, match="position 6 is beyond the 6"):
        learned.at(2, 5)
