"""Schedule-Free AdamW against its authors' package; going to the average and back."""

from __future__ import annotations

import copy

import pytest
import torch

from danlu.optim import ScheduleFreeAdamW

SHAPES = [(5, 3), (7,), (), (300, 500)]


def parameters(dtype=torch.float64):
    return [torch.nn.Parameter(torch.randn(s, dtype=dtype)) for s in SHAPES]


def give(*sets):
    for same in zip(*sets, strict=True):
        g = torch.randn_like(same[0])
        for p in same:
            p.grad = g.clone()


@pytest.mark.parametrize("power", [0.0, 0.7])
def test_it_is_its_authors(power):
    """Thirty steps in float64 with a warm-up, at y and at x."""
    schedulefree = pytest.importorskip("schedulefree", reason="the extra oracles is not installed")
    ours = parameters()
    theirs = copy.deepcopy(ours)
    rule = ScheduleFreeAdamW(ours, 0.01, (0.8, 0.95), 1e-8, 0.1, power)
    package = schedulefree.AdamWScheduleFree(
        theirs, 0.01, (0.8, 0.95), 1e-8, 0.1, warmup_steps=7, r=power, foreach=False
    )
    package.train()
    for step in range(30):
        rule.param_groups[0]["lr"] = 0.01 * min(1.0, (step + 1) / 7)
        give(ours, theirs)
        rule.step()
        package.step()
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)
    package.eval()
    with rule.averaged():
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


def test_the_average_is_the_mean_of_z():
    """x is the mean of z₁ … z_t where all weights are equal, whatever the gradients."""
    params = parameters()
    rule = ScheduleFreeAdamW(params, 0.01)
    seen = []
    for _ in range(10):
        give(params)
        rule.step()
        seen.append([rule.state[p]["z"].clone() for p in params])
    with rule.averaged():
        for p, *zs in zip(params, *seen, strict=True):
            torch.testing.assert_close(p.detach(), torch.stack(zs).mean(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_there_and_back_is_bit_for_bit(dtype):
    params = parameters(dtype)
    rule = ScheduleFreeAdamW(params, 0.01)
    with rule.averaged():
        pass  # before the first step there is nothing to do
    for _ in range(3):
        give(params)
        rule.step()
    before = [p.detach().clone() for p in params]
    with rule.averaged():
        assert not any(torch.equal(p, q) for p, q in zip(params, before, strict=True))
        rule.eval()  # a second time changes nothing
        with pytest.raises(RuntimeError, match=r"train\(\)"):
            rule.step()
    assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True))
    assert all("y" not in rule.state[p] for p in params)


def test_saved_as_the_average_it_goes_on_bit_for_bit():
    params = parameters(torch.float32)
    rule = ScheduleFreeAdamW(params, 0.01)
    give(params)
    rule.step()
    with rule.averaged():
        weights = [p.detach().clone() for p in params]
        state = [{key: t.clone() for key, t in rule.state[p].items()} for p in params]
    again = parameters(torch.float32)
    other = ScheduleFreeAdamW(again, 0.01)
    other.prepare()
    with other.averaged(), torch.no_grad():
        for p, w, s in zip(again, weights, state, strict=True):
            p.copy_(w)
            other.put_state(p, s)
    for _ in range(3):
        give(params, again)
        rule.step()
        other.step()
    assert all(torch.equal(p, q) for p, q in zip(params, again, strict=True))


def test_without_momentum_there_is_no_average():
    with pytest.raises(ValueError, match="beta1"):
        ScheduleFreeAdamW(parameters(), betas=(0.0, 0.9))
