"""The linear recurrence against its loop and two other forms; its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._higher_order_ops.associative_scan import associative_scan

from danlu.nn.scan import CHUNK, scan


def example(batch, length, state, seed=0, dtype=torch.float64):
    """λ in the ring 0.9 ≤ |λ| ≤ 1, white input and a start, as complex numbers."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, 2, generator=g, dtype=dtype)  # noqa: E731
    size, phase = torch.rand(2, state, generator=g, dtype=dtype)
    a = torch.polar(0.9 + 0.1 * size, 2 * math.pi * phase)
    return a, torch.view_as_complex(draw(batch, length, state)), torch.view_as_complex(draw(batch, state))


def pairs(*numbers):
    return tuple(torch.view_as_real(z) for z in numbers)


def loop(a, b, start):
    states = []
    for x in b.unbind(1):
        start = a * start + x
        states.append(start)
    return torch.stack(states, dim=1)


def error(actual, expected):
    """The largest error, relative to the largest number."""
    return ((actual - expected).abs().max() / expected.abs().max()).item()


# Lengths around one, two and all the chunks of a chunk, where the branches of the scan change.
EDGES = [1, 2, CHUNK - 1, CHUNK, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK + 7]
LENGTHS = st.one_of(st.sampled_from([*EDGES, 2 * CHUNK**2 + CHUNK + 5]), st.integers(1, 300))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3), LENGTHS, st.integers(1, 5), st.integers(0, 99))
def test_scan_is_the_loop(batch, length, state, seed):
    a, b, start = example(batch, length, state, seed)
    h = torch.view_as_complex(scan(*pairs(a, b, start)))
    assert error(h, loop(a, b, start)) <= 1e-10
    from_zero = torch.view_as_complex(scan(*pairs(a, b)))
    assert error(from_zero, loop(a, b, torch.zeros_like(start))) <= 1e-10


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), LENGTHS, st.integers(1, 5), st.integers(0, 99))
def test_gradients_are_those_of_the_loop(batch, length, state, seed):
    inputs = [z.requires_grad_() for z in example(batch, length, state, seed)]
    weight = example(batch, length, state, seed + 100)[1]
    expected = torch.autograd.grad((loop(*inputs) * weight).real.sum(), inputs)
    actual = torch.autograd.grad((torch.view_as_complex(scan(*pairs(*inputs))) * weight).real.sum(), inputs)
    for one, other in zip(actual, expected, strict=True):
        assert error(one, other) <= 1e-10


@pytest.mark.parametrize("length", [1, 3, 2 * CHUNK + 3])
def test_gradcheck(length):
    inputs = [t.clone().requires_grad_() for t in pairs(*example(1, length, 2))]
    assert torch.autograd.gradcheck(scan, inputs)
    if length == 3:  # complex numbers outside, as a user may have them
        a, b, start = (z.requires_grad_() for z in example(2, length, 2))
        assert torch.autograd.gradcheck(lambda *z: torch.view_as_complex(scan(*pairs(*z))), (a, b, start))


def test_scan_is_pytorchs_associative_scan():
    """Of (a, b), (a', b') → (a'a, a'b + b'), the semigroup of affine maps."""
    a, b, _ = example(2, 75, 3)

    def compose(left, right):
        return right[0] * left[0], right[0] * left[1] + right[1]

    _, expected = associative_scan(compose, (a.expand_as(b), b), dim=1, combine_mode="generic")
    assert error(torch.view_as_complex(scan(*pairs(a, b))), expected) <= 1e-10


def test_scan_is_a_convolution():
    """With the kernel a^t, by the Fourier transform of twice the length."""
    a, b, _ = example(2, 700, 3)
    kernel = a ** torch.arange(700)[:, None]
    transformed = torch.fft.fft(b, n=1400, dim=1) * torch.fft.fft(kernel, n=1400, dim=0)
    expected = torch.fft.ifft(transformed, dim=1)[:, :700]
    assert error(torch.view_as_complex(scan(*pairs(a, b))), expected) <= 1e-10


def test_scan_goes_on_where_it_stopped():
    a, b, start = pairs(*example(2, 200, 3))
    first = scan(a, b[:, :73], start)
    second = scan(a, b[:, 73:], first[:, -1])
    expected = scan(a, b, start)
    torch.testing.assert_close(torch.cat((first, second), 1), expected, rtol=1e-12, atol=1e-12)


def test_single_precision_is_as_exact_as_the_loop():
    """Against double precision, at |a| = 0.999 and over thousands of positions: powers add no error."""
    a, b, start = example(1, 5000, 16, dtype=torch.float32)
    a = 0.999 * a / a.abs()
    h = scan(*pairs(a, b, start))
    assert h.dtype == torch.float32
    exact = loop(*(z.to(torch.complex128) for z in (a, b, start)))
    assert error(torch.view_as_complex(h), exact) <= 2 * error(loop(a, b, start), exact) + 1e-6


def test_lower_precision_is_promoted():
    a, b, start = pairs(*example(2, 70, 3, dtype=torch.float32))
    rounded = b.bfloat16()
    h = scan(a, rounded, start)
    assert h.dtype == torch.float32
    assert torch.equal(h, scan(a, rounded.float(), start))


def test_layouts_do_not_matter():
    """Inputs and gradients that are views, transposed or expanded."""
    a, b, _ = pairs(*example(2, 70, 3))
    b = b.transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    (dense,) = torch.autograd.grad((scan(a, b) * torch.ones_like(b)).sum(), b)
    (expanded,) = torch.autograd.grad(scan(a, b).sum(), b)
    assert torch.equal(dense, expanded)


def test_wrong_shapes_are_refused():
    a, b, start = pairs(*example(2, 5, 3))
    with pytest.raises(ValueError, match=r"b of shape \(2, 5, 3\)"):
        scan(a, b[..., 0], start)
    with pytest.raises(ValueError, match="one position at least"):
        scan(a, b[:, :0], start)
    with pytest.raises(ValueError, match="do not go with b"):
        scan(a[:1], b, start)
    with pytest.raises(ValueError, match="do not go with b"):
        scan(a, b, start[:1])


@pytest.mark.slow  # imports the compiler
def test_compiled_graphs_hold_it_whole():
    a, b, start = pairs(*example(2, 70, 3))
    compiled = torch.compile(scan, backend="aot_eager", fullgraph=True)
    inputs = [t.clone().requires_grad_() for t in (a, b, start)]
    expected = torch.autograd.grad(scan(*inputs).square().sum(), inputs)
    actual = torch.autograd.grad(compiled(*inputs).square().sum(), inputs)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_the_operators_keep_pytorchs_rules():
    """Shapes without data, no aliases, registered gradient: what compiling relies on."""
    inputs = [t.clone().requires_grad_() for t in pairs(*example(2, 70, 3))]
    torch.library.opcheck(torch.ops.danlu.scan.default, inputs)
    a, b, start = (t.detach() for t in inputs)
    h = scan(a, b, start)
    torch.library.opcheck(torch.ops.danlu.scan_backward.default, (a, start, h, torch.ones_like(h)))


@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_transforms_compute_the_same(length):
    """Under ``torch.func`` the states come of doubling; here for three rates at once."""
    a = 0.6 * torch.randn(3, 4, 2, dtype=torch.float64).tanh()
    b, start = (torch.randn(2, *n, 4, 2, dtype=torch.float64) for n in ((length,), ()))
    together = torch.func.vmap(scan, in_dims=(0, None, None))(a, b, start)
    for got, rate in zip(together, a, strict=True):
        torch.testing.assert_close(got, scan(rate, b, start), rtol=1e-10, atol=1e-11)
