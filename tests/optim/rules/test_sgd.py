"""SGD against torch.optim.SGD."""

from __future__ import annotations

import copy

import pytest
import torch

from danlu.optim import SGD

SHAPES = [(5, 3), (7,), (), (2, 3, 4)]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sgd_is_torchs(nesterov, momentum, decay):
    """Thirty steps in float64; parameters that now and then have no gradient."""
    ours = [torch.nn.Parameter(torch.randn(s, dtype=torch.float64)) for s in SHAPES]
    theirs = copy.deepcopy(ours)
    same = {"lr": 0.03, "momentum": momentum, "weight_decay": decay}
    reference = torch.optim.SGD(theirs, nesterov=nesterov and momentum > 0, foreach=False, **same)
    pair = [SGD(ours, nesterov=nesterov, **same), reference]
    for step in range(30):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            p.grad = None if (step + i) % 4 == 0 else torch.randn_like(p)
            q.grad = None if p.grad is None else p.grad.clone()
        for optimizer in pair:
            optimizer.step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)
