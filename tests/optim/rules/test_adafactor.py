"""Adafactor against torch.optim.Adafactor, transformers' and its algorithm, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.optim.rules.adafactor import Adafactor

SHAPES = [(8, 5), (5, 8), (8, 5), (7,), (), (2, 3, 4), (1, 6), (6, 1)]


def parameters(dtype=torch.float64):
    return [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]


def steps(pair, sets, count, magnitude=1.0):
    """Now and then a parameter has no gradient, so that those of one shape differ in their count."""
    for step in range(count):
        for i, same in enumerate(zip(*sets, strict=True)):
            gradient = magnitude * torch.randn_like(same[0])
            for p in same:
                p.grad = None if i in (0, 3) and step % 3 == 1 else gradient.clone()
        for optimizer in pair:
            optimizer.step()


def agree(ours, theirs, bound=1e-12):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=bound, atol=bound)


@settings(max_examples=12, deadline=None)
@given(
    lr=st.floats(1e-4, 1),
    decay=st.floats(0.3, 1),
    floor=st.floats(1e-4, 10),
    clip=st.floats(1, 3),
    weight_decay=st.floats(0, 0.5),
    magnitude=st.floats(-6, 3),
)
def test_adafactor_is_torchs(lr, decay, floor, clip, weight_decay, magnitude):
    """With the paper's ε₁; PyTorch's default, the dtype's precision, changes small gradients' updates."""
    ours = parameters()
    theirs = copy.deepcopy(ours)
    oracle = torch.optim.Adafactor(
        theirs, lr=lr, beta2_decay=-decay, eps=(1e-30, floor), d=clip, weight_decay=weight_decay
    )
    rule = Adafactor(ours, lr=lr, decay=decay, floor=floor, clip=clip, weight_decay=weight_decay)
    steps([rule, oracle], [ours, theirs], 12, 10**magnitude)
    agree(ours, theirs)


def test_adafactor_is_transformers():
    """Its defaults: relative steps of at most 1 %."""
    optimization = pytest.importorskip("transformers.optimization", reason="the extra hf is not installed")
    ours = [p for p in parameters() if p.ndim > 0]
    theirs = copy.deepcopy(ours)
    # Its moving averages come out in float32 whatever the parameters: the bound is float32's.
    oracle = optimization.Adafactor(theirs, scale_parameter=True, relative_step=True, warmup_init=False)
    steps([Adafactor(ours), oracle], [ours, theirs], 12)
    agree(ours, theirs, 1e-6)


def test_the_step_is_relative_to_the_weights():
    """Algorithm 5: at the first step U = g/√V̂ has elements ±1 where g² has rank one, and θ moves by
    max(floor, RMS θ)·min(η, 1)."""
    for scale, expected in ((10.0, 10.0), (1e-6, 1e-3)):
        p = torch.nn.Parameter(scale * torch.ones(4, 6, dtype=torch.float64))
        before = p.detach().clone()
        signs = torch.randn(4, 6, dtype=torch.float64).sign()
        p.grad = torch.outer(torch.rand(4), torch.rand(6)).double().mul(signs)
        Adafactor([p], lr=0.01).step()
        torch.testing.assert_close(p - before, -expected * 0.01 * signs, rtol=1e-6, atol=0)


def test_rows_that_never_had_a_gradient_stay():
    p = torch.nn.Parameter(torch.randn(5, 4))
    before = p.detach().clone()
    rule = Adafactor([p])
    for _ in range(3):
        p.grad = torch.randn(5, 4)
        p.grad[1] = 0
        rule.step()
    assert torch.equal(p[1], before[1])
    assert not (p[0] == before[0]).any()
    p.grad = torch.zeros(5, 4)
    rule.step()
    assert p.isfinite().all()


def test_bytes_of_state():
    """Two vectors instead of a matrix: 0.016 bytes a parameter at 512², beside a count."""
    p = torch.nn.Parameter(torch.zeros(512, 512))
    rule = Adafactor([p])
    rule.prepare()
    held = sum(t.nbytes for t in rule.state[p].values())
    assert held == 4 * (512 + 512 + 1)
    assert round(held / p.numel(), 3) == 0.016
