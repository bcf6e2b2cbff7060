"""Safe operations: what the plain ones give away from zero, finite gradients at it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from danlu.nn import safe

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
anything = st.floats(-(2.0**100), 2.0**100, width=32)
lists = st.lists(anything, min_size=1, max_size=8)


def gradients(f, *inputs):
    """f's value and gradients, for the output gradient 1."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    y = f(*inputs)
    return y.detach(), *torch.autograd.grad(y.sum(), inputs)


def away_from_zero(*shape):
    x = torch.randn(shape, dtype=torch.float64)
    return (x + x.sign() * 0.1).requires_grad_()


def test_gradcheck_away_from_zero():
    x, y = away_from_zero(3, 4), away_from_zero(4)
    positive = x.detach().abs().requires_grad_()
    for f, inputs in ((safe.divide, (x, y)), (safe.sqrt, (positive,)), (safe.log, (positive,))):
        assert gradcheck(f, inputs)
        assert gradgradcheck(f, inputs)
    for dim in (0, -1, (0, 1)):
        assert gradcheck(lambda x, dim=dim: safe.norm(x, dim), (x,))
        assert gradgradcheck(lambda x, dim=dim: safe.norm(x, dim), (x,))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(anything, anything), min_size=1, max_size=8), st.sampled_from([1e-12, 1e-3, 0.0]))
def test_divide(pairs, eps):
    a, b = torch.tensor(pairs, dtype=torch.float64).unbind(-1)
    got = gradients(lambda a, b: safe.divide(a, b, eps), a, b)
    expected = gradients(torch.div, a, b)
    small = b.abs() <= eps
    for ours, theirs in zip(got, expected, strict=True):
        assert torch.equal(ours[~small], theirs[~small])
        assert (ours[small] == 0).all()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0, 2.0**100, width=32), min_size=1, max_size=8),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_sqrt_and_log(numbers, dtype):
    x = torch.tensor(numbers, dtype=dtype)
    got, expected = gradients(safe.sqrt, x), gradients(torch.sqrt, x)
    for ours, theirs in zip(got, expected, strict=True):
        assert torch.equal(ours[x > 0], theirs[x > 0])
        assert (ours[x == 0] == 0).all()

    smallest = torch.finfo(dtype).tiny
    normal = x >= smallest
    (value, slope), expected = gradients(safe.log, x), gradients(torch.log, x)
    assert torch.equal(value[normal], expected[0][normal])
    assert torch.equal(slope[normal], expected[1][normal])
    assert (value[~normal] == torch.tensor(smallest, dtype=dtype).log()).all()
    assert (slope[~normal] == 0).all()


@settings(max_examples=100, deadline=None)
@given(lists, st.sampled_from([torch.float32, torch.float64]))
def test_norm(numbers, dtype):
    """Python's own hypot is correct to within one unit; each of our steps rounds once."""
    x = torch.tensor(numbers, dtype=dtype)
    length, slope = gradients(safe.norm, x)
    expected = math.hypot(*x.tolist())
    bound = (2 + x.numel()) * torch.finfo(dtype).eps
    assert abs(length.item() - expected) <= bound * expected + torch.finfo(dtype).smallest_normal * bound
    assert slope.isfinite().all()
    if expected > torch.finfo(dtype).tiny:
        # The gradient is the direction.
        torch.testing.assert_close(slope, (x.double() / expected).to(dtype), rtol=1e-5, atol=1e-6)
    elif expected == 0:
        assert (slope == 0).all()


@pytest.mark.parametrize("magnitude", [1e-30, 1e30])
def test_norm_neither_overflows_nor_vanishes(magnitude):
    x = torch.tensor([3.0, -4.0]) * magnitude
    length, slope = gradients(safe.norm, x)
    torch.testing.assert_close(length, torch.tensor(5.0 * magnitude), rtol=1e-6, atol=0)
    torch.testing.assert_close(slope, torch.tensor([0.6, -0.8]))


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1, (0, 2), (0, 1, 2)])
def test_norm_over_dimensions_is_torchs(dim, keepdim):
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    expected = torch.linalg.vector_norm(x, dim=dim, keepdim=keepdim)
    torch.testing.assert_close(safe.norm(x, dim, keepdim), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_at_zero(dtype):
    """The stated values and gradients 0, in the type of the input, and derivatives of the gradient."""
    zero, ones = torch.zeros(3, dtype=dtype), torch.ones(3, dtype=dtype)
    for got in (
        gradients(lambda b: safe.divide(ones, b), zero),
        gradients(lambda b: safe.divide(ones * torch.inf, b), zero),
        gradients(safe.sqrt, zero),
        gradients(safe.norm, zero),
    ):
        assert all(result.dtype == dtype and (result == 0).all() for result in got)
    value, slope = gradients(safe.log, zero)
    assert torch.equal(value, torch.full_like(zero, torch.finfo(dtype).tiny).log())
    assert (slope == 0).all()

    x = zero.clone().requires_grad_()
    (slope,) = torch.autograd.grad(safe.norm(x), x, create_graph=True)
    assert (torch.autograd.grad(slope.sum(), x)[0] == 0).all()


def test_plain_operations_are_not_safe():
    """What this is for: the plain ones, masked only afterwards, give NaN."""
    _, slope = gradients(lambda x: torch.where(x > 0, x.sqrt(), 0) * x, torch.zeros(1))
    assert slope.isnan().all()
    _, slope = gradients(lambda x: safe.sqrt(x) * x, torch.zeros(1))
    assert (slope == 0).all()


def test_entropy_with_zeros():
    """−Σ p ln p of a distribution with empty outcomes: the value of the others, finite gradients."""
    p = torch.tensor([0.5, 0.0, 0.25, 0.25, 0.0], dtype=torch.float64)
    value, slope = gradients(lambda p: -(p * safe.log(p)).sum(), p)
    torch.testing.assert_close(value, torch.tensor(1.5 * math.log(2), dtype=torch.float64))
    assert slope.isfinite().all()


def test_errors_are_not_hidden():
    nan, minus = torch.tensor([math.nan]), torch.tensor([-1.0])
    for result in (
        safe.divide(nan, minus), safe.divide(minus, nan), safe.sqrt(nan), safe.sqrt(minus),
        safe.log(nan), safe.log(minus), safe.norm(nan),
    ):  # fmt: skip
        assert result.isnan().all()
    assert safe.norm(torch.tensor([math.inf, 1.0])) == math.inf
    with pytest.raises(ValueError, match="eps = -1 is negative"):
        safe.divide(minus, minus, eps=-1)
