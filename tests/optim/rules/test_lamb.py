"""LAMB against optax's, and what packages differ in."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from danlu.optim import LAMB

SHAPES = [(5, 3), (7,), (2, 3, 4), (300, 500)]


@pytest.fixture
def optax():
    jax = pytest.importorskip("jax", reason="the extra oracles is not installed")
    optax = pytest.importorskip("optax", reason="the extra oracles is not installed")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield optax
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("zero", [False, True])
def test_lamb_is_optaxs(optax, decay, zero):
    """Twenty steps in float64, with a tensor of zeros, whose ratio is 1, and one whose gradient is zero."""
    ours = [torch.nn.Parameter(torch.randn(s, dtype=torch.float64)) for s in SHAPES]
    if zero:
        with torch.no_grad():
            ours[1].zero_()
    theirs = [p.detach().numpy().copy() for p in ours]
    rule = LAMB(ours, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=decay)
    reference = optax.lamb(0.01, b1=0.8, b2=0.95, eps=1e-6, weight_decay=decay)
    state = reference.init(theirs)
    for _ in range(20):
        for i, p in enumerate(ours):
            p.grad = torch.zeros_like(p) if zero and i == 2 else torch.randn_like(p)
        updates, state = reference.update([p.grad.numpy() for p in ours], state, theirs)
        theirs = optax.apply_updates(theirs, updates)
        rule.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), np.asarray(q), rtol=1e-12, atol=1e-12)


def test_a_step_has_the_length_of_the_rate():
    """‖Δθ‖ = η‖θ‖ for every tensor and whatever the gradients' size. pytorch_optimizer 4.1 divides by 1 − β₁ᵗ
    after normalising, so that its first step is ten times as long."""
    params = [torch.nn.Parameter(torch.randn(s, dtype=torch.float64)) for s in SHAPES]
    before = copy.deepcopy(params)
    for i, p in enumerate(params):
        p.grad = 10.0 ** (3 * i - 4) * torch.randn_like(p)
    LAMB(params, lr=0.01).step()
    for p, q in zip(params, before, strict=True):
        torch.testing.assert_close((p - q).norm(), 0.01 * q.norm(), rtol=1e-12, atol=0)


def test_pytorch_optimizer_has_the_first_step_too_long():
    po = pytest.importorskip("pytorch_optimizer", reason="the extra oracles is not installed")
    p = torch.nn.Parameter(torch.randn(50))
    q = torch.nn.Parameter(p.detach().clone())
    p.grad = torch.randn_like(p)
    q.grad = p.grad.clone()
    start = p.detach().clone()
    LAMB([p], lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0).step()
    po.Lamb([q], lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0).step()
    assert (q - start).norm() > 9 * (p - start).norm()
