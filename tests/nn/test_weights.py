"""Softmax's kin: each in its equal forms, at its limits, and by finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from danlu import spec
from danlu.nn import Clipped, ReLUWeights, Sinks, SoftmaxOne, attend, build
from danlu.nn.masks import AttentionMask

HEADS = 3
EXACT = {"rtol": 1e-12, "atol": 1e-12}
FUTURE = torch.ones(7, 7, dtype=torch.bool).triu(1)


def scores(batch=2, queries=7, keys=7, scale=3.0):
    s = scale * torch.randn(batch, HEADS, queries, keys, dtype=torch.float64)
    return s.masked_fill(FUTURE[:queries, :keys], float("-inf"))


def sinks(values=None):
    layer = Sinks(HEADS).double()
    layer.sinks.data = torch.randn(HEADS, dtype=torch.float64) if values is None else values
    return layer


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 30))
def test_softmax1_in_three_forms(seed, scale):
    torch.manual_seed(seed)
    s = scores(scale=scale)
    got = SoftmaxOne(HEADS)(s)
    open = torch.sigmoid(s.logsumexp(-1, keepdim=True))
    torch.testing.assert_close(got, s.softmax(-1) * open, **EXACT)
    with_zero = torch.cat((s, torch.zeros(*s.shape[:-1], 1, dtype=s.dtype)), dim=-1)
    torch.testing.assert_close(got, with_zero.softmax(-1)[..., :-1], **EXACT)
    if scale < 5:
        torch.testing.assert_close(got, s.exp() / (1 + s.exp().sum(-1, keepdim=True)), **EXACT)


def test_softmax1_is_attention_with_a_key_and_value_of_zeros():
    q, k, v = (torch.randn(2, HEADS, 7, 4, dtype=torch.float64) for _ in range(3))
    got = attend(q, k, v, scale=0.5, mask=AttentionMask(causal=False), normaliser=SoftmaxOne(HEADS))
    k, v = (torch.cat((t, t.new_zeros(2, HEADS, 1, 4)), dim=2) for t in (k, v))
    torch.testing.assert_close(got, attend(q, k, v, scale=0.5, mask=AttentionMask(causal=False)), **EXACT)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 30))
def test_sinks_are_a_softmax_times_a_gate(seed, scale):
    torch.manual_seed(seed)
    s, layer = scores(scale=scale), sinks()
    gate = torch.sigmoid(s.logsumexp(-1, keepdim=True) - layer.sinks[:, None, None])
    torch.testing.assert_close(layer(s), s.softmax(-1) * gate, **EXACT)


def test_sinks_of_zero_are_softmax1_and_of_minus_infinity_softmax():
    s = scores()
    assert torch.equal(Sinks(HEADS).sinks, torch.zeros(HEADS))
    assert torch.equal(sinks(torch.zeros(HEADS, dtype=torch.float64))(s), SoftmaxOne(HEADS)(s))
    none = torch.full((HEADS,), float("-inf"), dtype=torch.float64)
    torch.testing.assert_close(sinks(none)(s), s.softmax(-1), **EXACT)


@pytest.mark.parametrize("layer", [SoftmaxOne(HEADS), sinks()], ids=["softmax1", "sinks"])
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_large_scores_do_not_overflow(layer, size):
    s = (size * torch.randn(2, HEADS, 7, 7)).requires_grad_()
    weights = layer(s)
    (gradient,) = torch.autograd.grad(weights.square().sum(), s)
    assert weights.isfinite().all()
    assert gradient.isfinite().all()
    largest = s.amax(-1)
    attends = largest > 100  # e^−100 of the rest is below the precision of 1
    torch.testing.assert_close(weights.sum(-1)[attends], torch.ones_like(largest[attends]))
    nothing = largest < -100
    assert (weights.sum(-1)[nothing] < 1e-30).all()


@pytest.mark.parametrize("layer", [SoftmaxOne(HEADS), sinks()], ids=["softmax1", "sinks"])
def test_a_row_that_sees_nothing_attends_to_nothing(layer):
    s = scores().requires_grad_()
    weights = layer(s.masked_fill(torch.eye(7, dtype=torch.bool)[0, :, None], float("-inf")))
    assert (weights[:, :, 0] == 0).all()
    (gradient,) = torch.autograd.grad(weights.square().sum(), s)
    assert not gradient[:, :, 0].isnan().any()
    assert gradient[:, :, 1:].isfinite().all()


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 6), st.floats(1, 1.1), st.integers(0, 2**31))
def test_clipped_softmax_is_its_formula(alpha, zeta, seed):
    """γ by the keys that each row of a causal mask sees: 1, 2, … 7."""
    torch.manual_seed(seed)
    s = scores()
    got = Clipped(HEADS, alpha=alpha, zeta=zeta)(s)
    for row in range(7):
        p = s[:, :, row, : row + 1].softmax(-1)
        gamma = -alpha / (row + 1)
        expected = ((zeta - gamma) * p + gamma).clip(0, 1)
        torch.testing.assert_close(got[:, :, row, : row + 1], expected, **EXACT)
        assert (got[:, :, row, row + 1 :] == 0).all()


def test_clipped_weights_are_exactly_zero_and_one():
    """A uniform weight 1/n becomes (1 + α/n)/n − α/n, which is negative for α > n/(n − 1)."""
    flat = torch.zeros(1, 1, 4, 4).masked_fill(torch.ones(4, 4).triu(1) > 0, float("-inf"))
    weights = Clipped(1, alpha=3.2)(flat)[0, 0]
    assert weights[0, 0] == pytest.approx(1, abs=1e-6)
    assert (weights[1:] == 0).all()
    sharp = torch.tensor([[[[9.0, 0, 0, 0]]]])
    assert Clipped(1, alpha=3.2, zeta=1.03)(sharp)[0, 0, 0].tolist() == [1, 0, 0, 0]


def test_gradcheck():
    s = torch.randn(1, HEADS, 2, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(SoftmaxOne(HEADS), s)
    b = torch.randn(HEADS, dtype=torch.float64, requires_grad=True)
    layer = Sinks(HEADS)
    assert gradcheck(lambda s, b: torch.func.functional_call(layer, {"sinks": b}, (s,)), (s, b))
    assert gradcheck(Clipped(HEADS, alpha=0.5, zeta=1.02), s)  # away from the corners of the clip


@pytest.mark.parametrize(
    "part", [spec.SoftmaxOne(), spec.Sinks(), spec.Clipped(), spec.ReLUWeights()], ids=lambda p: p.kind
)
def test_types(part):
    layer = build(part, HEADS)
    weights = layer(scores().bfloat16())
    assert weights.dtype == torch.bfloat16
    for parameter in layer.parameters():
        (gradient,) = torch.autograd.grad(weights.sum(), parameter)
        assert gradient.dtype == torch.float32


def test_relu_gives_what_is_above_zero_its_share_of_the_visible_keys():
    flat = torch.tensor([[2.0, -1.0, float("-inf"), float("-inf")], [3.0, -6.0, 0.0, 9.0]])[None, None]
    assert ReLUWeights(1)(flat)[0, 0].tolist() == [[1, 0, 0, 0], [0.75, 0, 0, 2.25]]
    assert gradcheck(ReLUWeights(HEADS), scores(scale=1.0).requires_grad_())
