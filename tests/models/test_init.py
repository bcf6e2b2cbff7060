"""Initial weights: their spread within five standard errors, and what the branches start as."""

from __future__ import annotations

import math

import pytest
import torch

from danlu import spec
from danlu.nn import Linear

VOCABULARY, WIDTH = 500, 64


def build(init, **settings):
    from danlu.models import build

    torch.manual_seed(1)
    return build(spec.Decoder(layers=3, width=WIDTH, init=init, **settings), VOCABULARY, 40)


def assert_normal(weight, std):
    """Of n normal numbers the mean is off by std/√n, the spread by std/√(2n) (standard errors)."""
    n = weight.numel()
    assert abs(weight.mean().item()) < 5 * std / math.sqrt(n)
    assert abs(weight.std().item() - std) < 5 * std / math.sqrt(2 * n)
    kurtosis = ((weight - weight.mean()) / weight.std()).pow(4).mean().item()
    assert abs(kurtosis - 3) < 5 * math.sqrt(24 / n)  # a normal distribution's is 3


@pytest.mark.parametrize("std", [None, 0.05])
def test_weights_have_the_stated_spread(std):
    model = build(spec.Init(std=std, embedding=0.3, branch="same"), tied=False, feed_forward=spec.GLU())
    linear = [m for m in model.modules() if isinstance(m, Linear)]
    assert len(linear) == 3 * 5 + 1
    for module in linear:
        assert_normal(module.weight, std or module.in_features**-0.5)
    assert_normal(model.embedding.weight, 0.3)


def test_learned_positions_are_embeddings():
    model = build(spec.Init(embedding=0.3), position=spec.Learned())
    assert_normal(model.position.weight, 0.3)


def test_the_readout_has_its_own_spread():
    model = build(spec.Init(readout=0.007), tied=False)
    assert_normal(model.readout.weight, 0.007)
    assert_normal(build(spec.Init(embedding=0.3)).readout.weight, 0.3)  # tied


@pytest.mark.parametrize("branch", ["same", "depth", "zero"])
def test_biases_start_at_zero_and_gains_at_one(branch):
    model = build(spec.Init(branch=branch), bias=True, norm=spec.LayerNorm(bias=True))
    named = dict(model.named_parameters())
    biases = [p for name, p in named.items() if name.endswith("bias")]
    gains = [p for name, p in named.items() if name.endswith("gain")]
    assert len(biases) == 3 * (4 + 2) + 1
    assert len(gains) == 3 * 2 + 1
    assert all((p == 0).all() for p in biases)
    assert all((p == 1).all() for p in gains)


def test_depth_divides_the_ends_of_branches_alone():
    same, depth = (build(spec.Init(branch=branch)) for branch in ("same", "depth"))
    ends = {id(end.weight) for block in depth.blocks for end in block.branch_ends()}
    assert len(ends) == 6
    for a, b in zip(same.parameters(), depth.parameters(), strict=True):
        torch.testing.assert_close(b, a / math.sqrt(2 * 3) if id(b) in ends else a, rtol=1e-6, atol=0)


@pytest.mark.parametrize("feed_forward", [spec.MLP(), spec.GLU()])
@pytest.mark.parametrize("bias", [False, True])
def test_zero_makes_every_block_the_identity(feed_forward, bias):
    model = build(spec.Init(branch="zero"), feed_forward=feed_forward, bias=bias)
    x = torch.randn(2, 9, WIDTH)
    for block in model.blocks:
        assert torch.equal(block(x), x)
    other = build(spec.Init(branch="same"), feed_forward=feed_forward, bias=bias)
    assert not torch.allclose(other.blocks[0](x), x)


def test_the_same_seed_draws_the_same_weights():
    one, other = build(spec.Init()), build(spec.Init())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
