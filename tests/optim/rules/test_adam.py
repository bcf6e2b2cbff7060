"""AdamW against torch.optim.AdamW."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.optim import AdamW

SHAPES = [(5, 3), (7,), (), (2, 3, 4), (1, 1)]


def parameters(dtype=torch.float64):
    return [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]


def groups(params, lr, decay):
    return [
        {"params": params[:2]},
        {"params": params[2:3], "lr": 10 * lr},
        {"params": params[3:], "weight_decay": decay + 0.3, "betas": (0.5, 0.7), "eps": 1e-3},
    ]


def give_gradients(*sets, magnitude=1.0, missing=()):
    for i, same in enumerate(zip(*sets, strict=True)):
        gradient = magnitude * torch.randn_like(same[0])
        for p in same:
            p.grad = None if i in missing else gradient.clone()


@settings(max_examples=30, deadline=None)
@given(
    st.floats(1e-5, 0.5),
    st.floats(0, 0.5),
    st.tuples(st.floats(0, 0.99), st.floats(0, 0.999)),
    st.floats(-6, 3),
    st.integers(0, 2**31),
)
def test_adamw_is_torchs(lr, decay, betas, magnitude, seed):
    """Twenty steps, with groups of their own settings and parameters that now and then have no gradient."""
    torch.manual_seed(seed)
    ours = parameters()
    theirs = copy.deepcopy(ours)
    same = {"lr": lr, "weight_decay": decay, "betas": betas, "eps": 1e-8}
    pair = [AdamW(groups(ours, lr, decay), **same)]
    pair.append(torch.optim.AdamW(groups(theirs, lr, decay), foreach=False, fused=False, **same))
    for step in range(20):
        give_gradients(ours, theirs, magnitude=10**magnitude, missing=[1, 3] if step % 3 == 0 else [])
        for optimizer in pair:
            optimizer.step()
            optimizer.zero_grad()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_float32_is_torchs_fused_kernel_bit_for_bit():
    ours = parameters(torch.float32)
    theirs = copy.deepcopy(ours)
    pair = [
        AdamW(ours, lr=0.01),
        torch.optim.AdamW(theirs, lr=0.01, betas=(0.9, 0.95), weight_decay=0.1, fused=True),
    ]
    for _ in range(10):
        give_gradients(ours, theirs)
        for optimizer in pair:
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for a, b in zip(ours, theirs, strict=True):
        states = [optimizer.state[p] for optimizer, p in zip(pair, (a, b), strict=True)]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_the_first_step_is_the_rate_along_the_sign():
    """m̂/√v̂ = g/|g| then, whatever the betas; before it the decay shrinks the weight."""
    (p,) = [torch.nn.Parameter(torch.randn(50, dtype=torch.float64))]
    before = p.detach().clone()
    p.grad = torch.randn_like(p)
    AdamW([p], lr=0.1, betas=(0.7, 0.8), eps=0.0, weight_decay=0.5).step()
    torch.testing.assert_close(
        p.detach(), before * (1 - 0.1 * 0.5) - 0.1 * p.grad.sign(), rtol=1e-6, atol=1e-6
    )


def test_state_is_two_moments():
    (p,) = [torch.nn.Parameter(torch.randn(8, 4))]
    optimizer = AdamW([p])
    optimizer.prepare()
    moments = [t for t in optimizer.state[p].values() if t.ndim]
    assert sum(t.numel() * t.element_size() for t in moments) == 8 * p.numel()


def test_a_closure_is_evaluated_with_gradients():
    (p,) = [torch.nn.Parameter(torch.ones(3))]
    optimizer = AdamW([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 3.0
    assert (p < 1).all()


@pytest.mark.parametrize("to_none", [True, False])
def test_zero_grad(to_none):
    ours = parameters()
    give_gradients(ours, missing=[1])
    AdamW(ours).zero_grad(set_to_none=to_none)
    for i, p in enumerate(ours):
        assert (p.grad is None) if to_none or i == 1 else (p.grad == 0).all()
