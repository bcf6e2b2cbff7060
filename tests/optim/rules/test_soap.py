"""SOAP against the authors' code as pytorch_optimizer ships it."""

from __future__ import annotations

import copy

import pytest
import torch

from danlu.optim.rules.soap import SOAP

SHAPES = [(8, 8), (6, 10), (10, 6), (8, 8), (7,), (1, 5)]


def parameters(dtype):
    return [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]


class Precisely:
    """torch, in whose place float32 means float64: the author's code casts to it before its QR."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def run(sets, pair, steps):
    for _ in range(steps):
        for same in zip(*sets, strict=True):
            gradient = torch.randn_like(same[0])
            for p in same:
                p.grad = gradient.clone()
        for optimizer in pair:
            optimizer.step()


@pytest.mark.parametrize(
    ("settings", "called"),
    [
        ({}, {}),
        ({"lr": 0.05, "betas": (0.8, 0.9), "weight_decay": 0.3, "eps": 1e-3}, {}),
        ({"every": 3}, {"precondition_frequency": 3}),
        ({"longest": 7}, {"max_precondition_dim": 7}),
    ],
    ids=str,
)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_soap_is_the_authors(monkeypatch, settings, called, dtype, bound):
    """Over two new bases: the first step moves nothing, bases turn at the eleventh. Gradients of full rank on
    the shorter side: where the first statistics are singular, any basis of what is left is right, and both
    take that of the same eigh of the same products."""
    po = pytest.importorskip("pytorch_optimizer", reason="the extra oracles is not installed")
    if dtype == torch.float64:
        monkeypatch.setattr("pytorch_optimizer.optimizer.soap.torch", Precisely())
    ours = parameters(dtype)
    theirs = copy.deepcopy(ours)
    renamed = {key: value for key, value in settings.items() if key not in ("every", "longest")}
    run([ours, theirs], [SOAP(ours, **settings), po.SOAP(theirs, **renamed, **called)], 25)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=bound, atol=bound)


def test_the_first_step_moves_nothing():
    params = parameters(torch.float32)
    before = copy.deepcopy(params)
    run([params], [SOAP(params)], 1)
    assert all(torch.equal(a, b) for a, b in zip(params, before, strict=True))


def test_without_a_basis_it_is_adamw():
    """Both sides too long: AdamW from the second gradient on, but that the decay comes after the step."""
    ours, theirs = parameters(torch.float64), []
    theirs = copy.deepcopy(ours)
    rule = SOAP(ours, betas=(0.9, 0.95), longest=0, weight_decay=0.0)
    oracle = torch.optim.AdamW(theirs, lr=3e-3, betas=(0.9, 0.95), eps=1e-30, weight_decay=0.0)
    rule.param_groups[0]["eps"] = 1e-30
    run([ours], [rule], 1)
    run([ours, theirs], [rule, oracle], 12)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_it_does_not_see_a_rotation():
    """Adam in the eigenbasis: turning the problem by U and V turns the updates, which Adam's are not."""
    u, v = (torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0] for _ in range(2))
    one = torch.nn.Parameter(torch.zeros(6, 6, dtype=torch.float64))
    other = torch.nn.Parameter(torch.zeros(6, 6, dtype=torch.float64))
    pair = [SOAP([one], weight_decay=0.0), SOAP([other], weight_decay=0.0)]
    for _ in range(15):
        one.grad = torch.randn(6, 6, dtype=torch.float64)
        other.grad = u @ one.grad @ v.mT
        for optimizer in pair:
            optimizer.step()
    torch.testing.assert_close(u @ one @ v.mT, other.detach(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("shape", [(32, 32), (16, 48), (9,)])
def test_bytes_of_state(shape):
    p = torch.nn.Parameter(torch.zeros(shape))
    rule = SOAP([p])
    rule.prepare()
    held = sum(t.nbytes for key, t in rule.state[p].items() if key != "step")
    sides = sum(n * n for n in shape) if len(shape) == 2 else 0
    assert held == 8 * p.numel() + 8 * sides
