"""Lion against lion-pytorch and optax; NaN; rows without gradient."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from danlu.optim import Lion, Tiger

SHAPES = [(5, 3), (7,), (), (2, 3, 4), (300, 500)]


def parameters():
    return [torch.nn.Parameter(torch.randn(s, dtype=torch.float64)) for s in SHAPES]


def give(*sets):
    for same in zip(*sets, strict=True):
        g = torch.randn_like(same[0])
        for p in same:
            p.grad = g.clone()


def test_lion_is_its_authors_in_pytorch():
    package = pytest.importorskip("lion_pytorch", reason="the extra oracles is not installed")
    ours = parameters()
    theirs = copy.deepcopy(ours)
    pair = [
        Lion(ours, 0.01, (0.9, 0.99), 0.1),
        package.Lion(theirs, 0.01, (0.9, 0.99), 0.1, decoupled_weight_decay=False),
    ]
    for _ in range(20):
        give(ours, theirs)
        for optimizer in pair:
            optimizer.step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


def test_lion_is_optaxs():
    jax = pytest.importorskip("jax", reason="the extra oracles is not installed")
    optax = pytest.importorskip("optax", reason="the extra oracles is not installed")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        ours = parameters()
        theirs = [p.detach().numpy().copy() for p in ours]
        rule = Lion(ours, 0.01, (0.95, 0.98), 0.3)
        reference = optax.lion(0.01, b1=0.95, b2=0.98, weight_decay=0.3)
        state = reference.init(theirs)
        for _ in range(20):
            give(ours)
            updates, state = reference.update([p.grad.numpy() for p in ours], state, theirs)
            theirs = optax.apply_updates(theirs, updates)
            rule.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), np.asarray(q), rtol=1e-12, atol=1e-12)
    finally:
        jax.config.update("jax_enable_x64", before)


def test_with_equal_betas_it_is_tigers_bare_rule():
    """Lion(β, β) interpolates to the momentum that it keeps; Tiger's rate is η for tensors whose root mean
    square is η/lr: with a floor above it, lr·floor."""
    ours = parameters()
    theirs = copy.deepcopy(ours)
    groups = [{"params": theirs, "scale": "rms"}]
    pair = [
        Lion(ours, 0.02, (0.9, 0.9), 0.1),
        Tiger(groups, lr=0.02 / 100, beta=0.9, weight_decay=0.1, floor=100.0),
    ]
    for _ in range(20):
        give(ours, theirs)
        for optimizer in pair:
            optimizer.step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("which", range(len(SHAPES)))
def test_a_gradient_that_is_not_finite_is_left_out_and_told(which, value, lazy):
    """That tensor and its momentum stay, bit for bit; the others move; afterwards it goes on."""
    params = parameters()
    rule = Lion([{"params": params, "names": list("abcde")}], lazy_rows=lazy)
    give(params)
    rule.step()
    before = [p.detach().clone() for p in params]
    momentum = rule.state[params[which]]["exp_avg"].clone()
    give(params)
    params[which].grad.view(-1)[-1] = value
    rule.step()
    for i, (p, q) in enumerate(zip(params, before, strict=True)):
        assert torch.equal(p, q) == (i == which)
    assert torch.equal(rule.state[params[which]]["exp_avg"], momentum)
    assert rule.skipped == {"abcde"[which]: 1}
    give(params)
    rule.step()
    assert not torch.equal(params[which], before[which])
    assert all(p.isfinite().all() for p in params)
    assert rule.skipped == {"abcde"[which]: 1}


def test_the_row_of_a_token_that_never_occurs_drifts_to_one_over_the_decay():
    """Its momentum keeps a sign: w ← (1 − ηλ)w − ηs, whose solution is w_t = −s/λ + (w₀ + s/λ)(1 − ηλ)ᵗ."""
    rate, decay, steps = 0.05, 0.5, 300
    p = torch.nn.Parameter(torch.zeros(4, 3, dtype=torch.float64))
    rule = Lion([p], rate, (0.9, 0.99), decay)
    p.grad = torch.randn_like(p)
    sign = p.grad.sign()
    for _ in range(steps):
        rule.step()
        p.grad[1:] = 0  # after the first step only row 0 occurs
    expected = -sign / decay * (1 - (1 - rate * decay) ** steps)
    torch.testing.assert_close(p.detach()[1:], expected[1:], rtol=1e-12, atol=1e-12)
    assert ((p.detach()[1:].abs() - 1 / decay).abs() < 2e-3).all()


@pytest.mark.parametrize("rule", [Lion, Tiger])
def test_lazy_rows_leave_such_rows_alone(rule):
    """Weights and momentum of rows without gradient stay bit for bit; the others are those of a matrix that
    has no such rows."""
    groups = lambda p: [{"params": [p]} | ({"scale": "rows"} if rule is Tiger else {})]  # noqa: E731
    p = torch.nn.Parameter(torch.randn(6, 4, dtype=torch.float64))
    touched = torch.tensor([0, 2, 5])
    small = torch.nn.Parameter(p.detach()[touched].clone())
    start = p.detach().clone()
    lazy, plain = rule(groups(p), lazy_rows=True), rule(groups(small))
    for _ in range(5):
        small.grad = torch.randn_like(small)
        p.grad = torch.zeros_like(p).index_copy(0, touched, small.grad)
        lazy.step()
        plain.step()
    assert torch.equal(p[[1, 3, 4]], start[[1, 3, 4]])
    assert not lazy.state[p]["exp_avg"][[1, 3, 4]].any()
    torch.testing.assert_close(p.detach()[touched], small.detach(), rtol=1e-13, atol=1e-13)


def test_a_tied_readout_makes_the_gradient_dense():
    """The other cure: every token's row is a row of the readout too, and has a gradient."""
    from danlu import spec
    from danlu.models import build
    from danlu.objectives import loss_sum

    touched = {}
    for tied in (False, True):
        torch.manual_seed(0)
        model = build(spec.Decoder(layers=1, width=16, tied=tied), 50, 8)
        tokens = torch.arange(8)[None] % 5
        loss_sum(model, tokens, tokens.roll(1)).backward()
        touched[tied] = (model.embedding.weight.grad != 0).any(1)
    assert touched[False].sum() == 5
    assert touched[True].all()
