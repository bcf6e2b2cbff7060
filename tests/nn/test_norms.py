"""Norms against torch.nn.functional's, values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from danlu.nn import LayerNorm, RMSNorm, rms_norm

EPS = 1e-5
BF16 = 2.0**-8  # rounding to bfloat16 changes a number by at most this share


def value_and_gradients(f, *inputs):
    """f's value and the gradients of its inputs for one random, fixed output gradient."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    y = f(*inputs)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [y.detach(), *torch.autograd.grad(y, inputs, weight.to(y.dtype))]


def assert_same(got, expected, **tolerance):
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=0, max_size=3),
    st.integers(1, 33),
    st.sampled_from([1e-12, 1e-6, 1e-5, 1e-2]),
    st.floats(-3, 3),
    st.integers(0, 2**31),
)
def test_rms_norm_is_torchs(shape, width, eps, magnitude, seed):
    x = torch.randn(*shape, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x *= 10**magnitude
    got = value_and_gradients(lambda x: rms_norm(x, eps), x)
    expected = value_and_gradients(lambda x: F.rms_norm(x, (width,), eps=eps), x)
    scale = 10**-magnitude  # of the gradient
    assert_same(got[:1], expected[:1], rtol=1e-12, atol=1e-12)
    assert_same(got[1:], expected[1:], rtol=1e-10, atol=1e-12 * max(scale, 1))


def test_rms_norm_float32():
    x = torch.randn(5, 7, 64)
    got = value_and_gradients(rms_norm, x)
    assert_same(got, value_and_gradients(lambda x: F.rms_norm(x, (64,), eps=EPS), x), rtol=1e-5, atol=1e-6)


def test_rms_norm_gradcheck():
    x = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(rms_norm, (x,))
    assert gradcheck(rms_norm, (x.transpose(0, 2),))


def test_a_gradient_penalty_is_right_or_refused():
    def penalised(f):
        x = torch.linspace(-1, 1, 10, dtype=torch.float64).view(2, 5).requires_grad_()
        (dx,) = torch.autograd.grad(f(x).pow(3).sum(), x, create_graph=True)
        dx.square().sum().backward()
        return x.grad

    try:
        got = penalised(rms_norm)
    except RuntimeError as error:
        assert "once_differentiable" in str(error)
    else:
        torch.testing.assert_close(got, penalised(lambda x: F.rms_norm(x, (5,), eps=EPS)))


def test_rms_norm_bfloat16_is_within_its_rounding():
    """Two roundings: of 1/√(mean x² + ε) and of its product with x."""
    x = torch.randn(64, 96).bfloat16()
    y = rms_norm(x)
    assert y.dtype == torch.bfloat16
    exact = F.rms_norm(x.double(), (96,), eps=EPS)
    assert ((y.double() - exact).abs() <= 2.01 * BF16 * exact.abs()).all()


def test_rms_norm_bfloat16_gradient():
    """dx = (dy − y·mean(dy·y))·scale: bounded by a few roundings of its larger terms."""
    x = torch.randn(64, 96).bfloat16()
    _, got = value_and_gradients(rms_norm, x)
    _, exact = value_and_gradients(lambda x: F.rms_norm(x, (96,), eps=EPS), x.double())
    assert got.dtype == torch.bfloat16
    assert (got.double() - exact).norm() <= 2 * BF16 * exact.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm", [rms_norm, RMSNorm(8), LayerNorm(8)])
def test_zero_input_is_finite(norm, dtype):
    y, dx = value_and_gradients(norm, torch.zeros(2, 8, dtype=dtype))
    assert (y == 0).all()
    assert dx.isfinite().all()


def test_large_bfloat16_input_does_not_overflow():
    """The mean square is taken in float32: (1e18)² is beyond bfloat16's precision but not its range."""
    y = rms_norm(torch.full((2, 16), 1e18, dtype=torch.bfloat16))
    assert (y == 1).all()


def randomised(norm):
    for p in norm.parameters():
        torch.nn.init.normal_(p)
    return norm


@pytest.mark.parametrize("gain", [False, True])
def test_rms_norm_module_is_torchs(gain):
    ours = randomised(RMSNorm(12, eps=1e-4, gain=gain)).double()
    theirs = torch.nn.RMSNorm(12, eps=1e-4, elementwise_affine=gain, dtype=torch.float64)
    if gain:
        theirs.weight.data.copy_(ours.gain)
    check_module(ours, theirs)


@pytest.mark.parametrize(("gain", "bias"), [(False, False), (True, False), (True, True)])
def test_layer_norm_module_is_torchs(gain, bias):
    ours = randomised(LayerNorm(12, eps=1e-4, gain=gain, bias=bias)).double()
    theirs = torch.nn.LayerNorm(12, eps=1e-4, elementwise_affine=gain, bias=bias, dtype=torch.float64)
    if gain:
        theirs.weight.data.copy_(ours.gain)
    if bias:
        theirs.bias.data.copy_(ours.bias)
    check_module(ours, theirs)


def check_module(ours, theirs):
    x = torch.randn(3, 4, 12, dtype=torch.float64)
    results = []
    for module in (ours, theirs):
        at = x.clone().requires_grad_()
        y = module(at)
        y.pow(3).sum().backward()
        results.append([y.detach(), at.grad, *(p.grad for p in module.parameters())])
    assert len(results[0]) == 2 + len(list(theirs.parameters()))
    assert_same(*results, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cls", [RMSNorm, LayerNorm])
def test_half_precision_keeps_its_type_and_gives_float32_gradients(cls):
    norm = cls(8)
    x = torch.randn(3, 8).bfloat16().requires_grad_()
    y = norm(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == torch.bfloat16
    assert norm.gain.grad.dtype == torch.float32
