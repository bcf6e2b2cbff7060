"""Batch renorm against batch norm, its own evaluation, and the paper's algorithm written out."""

from __future__ import annotations

import pytest
import torch

from danlu import spec
from danlu.nn import BatchNorm, BatchRenorm, after_update, fold
from tests.nn.compare import assert_same, value_and_gradients
from tests.nn.test_batch_norms import running

AT_ONCE = {"begin": 0, "r_by": 0, "d_by": 0}
WIDE = {"r_max": 1e9, "d_max": 1e9}


def batch(seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return 2 + 3 * torch.randn(4, 5, 6, dtype=torch.float64)


def pair(**settings) -> tuple[BatchRenorm, BatchNorm]:
    """A batch renorm and a batch norm with the same numbers, in training."""
    ours, plain = running(6, BatchRenorm(6, momentum=0.1, **settings)), BatchNorm(6).double()
    plain.load_state_dict({name: t for name, t in ours.state_dict().items() if name != "updates"})
    return ours.train(), plain.train()


@pytest.mark.parametrize("settings", [{"r_max": 1.0, "d_max": 0.0, **AT_ONCE}, {"begin": 3}])
def test_without_room_it_is_batch_norm(settings):
    """With r_max = 1 and d_max = 0, and before ``begin``: to the last bit, over three batches."""
    ours, plain = pair(**settings)
    for seed in range(3):
        for got, expected in zip(
            value_and_gradients(ours, batch(seed)), value_and_gradients(plain, batch(seed)), strict=True
        ):
            assert torch.equal(got, expected)
        after_update(ours)
    assert torch.equal(ours.mean, plain.mean) and torch.equal(ours.variance, plain.variance)


def test_evaluation_is_batch_norms():
    ours, plain = pair(**AT_ONCE)
    assert torch.equal(ours.eval()(batch()), plain.eval()(batch()))
    linear = torch.nn.Linear(3, 6).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(fold(ours, linear)(x), ours(linear(x)), rtol=1e-12, atol=1e-12)


def test_where_the_batch_is_as_the_averages_it_is_both():
    """r = 1 and d = 0: training is batch norm's, and it is evaluation."""
    ours, plain = pair(**AT_ONCE)
    x = batch()
    for norm in (ours, plain):
        norm.mean.copy_(x.mean((0, 1)))
        norm.variance.copy_(x.var((0, 1), correction=0))
    as_used = plain.eval()(x)
    same = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(ours(x), as_used, **same)
    torch.testing.assert_close(plain.train()(x), as_used, **same)


def test_with_all_the_room_training_is_evaluation():
    """Section 3: (x − μ_B)/σ_B · r + d = (x − μ)/σ, whatever the batch is; batch norm is far from it."""
    ours, plain = pair(**AT_ONCE, **WIDE)
    x = batch()
    expected = plain.eval()(x)
    assert (plain.train()(x) - expected).abs().max() > 0.1
    torch.testing.assert_close(ours(x), expected, rtol=1e-12, atol=1e-12)


def test_it_is_the_algorithm_of_the_paper():
    """Algorithm 1 with r and d as constants, three updates after ``begin``, some of r and d at their bounds
    and some not; and a gradient that passes through neither."""
    ours, plain = pair(r_max=1.5, d_max=0.6, begin=2, r_by=12, d_by=7)
    ours.updates.fill_(5)
    highest, farthest = 1 + 0.5 * 3 / 10, 0.6 * 3 / 5
    x = batch().requires_grad_()
    sigma = (ours.variance + ours.eps).sqrt()
    with torch.no_grad():
        own = (x.var((0, 1), correction=0) + ours.eps).sqrt()
        r = (own / sigma).clamp(1 / highest, highest)
        d = ((x.mean((0, 1)) - ours.mean) / sigma).clamp(-farthest, farthest)
    assert 0 < ((r == 1 / highest) | (r == highest) | (d.abs() == farthest)).sum() < 2 * 6
    weights = torch.randn_like(x)

    centred = x - x.mean((0, 1))
    written = centred / (centred.square().mean((0, 1)) + ours.eps).sqrt() * r + d
    expected = (plain.gain * written + plain.bias) * weights
    of = torch.autograd.grad(expected.sum(), [x, plain.gain, plain.bias])
    got = torch.autograd.grad((ours(x) * weights).sum(), [x, ours.gain, ours.bias])
    assert_same(got, of, rtol=1e-6, atol=1e-6)  # R and D are float32
    plain(x)
    assert torch.equal(ours.mean, plain.mean) and torch.equal(ours.variance, plain.variance)


def test_the_bounds_are_the_papers():
    """r_max 1 up to 5,000 updates, 3 from 40,000 on; d_max 0, 5 from 25,000 on; in equal parts between."""
    norm = BatchRenorm(2)
    early = (0, 1, 0), (5_000, 1, 0), (15_000, 1 + 2 * 10 / 35, 2.5)
    for updates, r, d in (*early, (25_000, 1 + 2 * 20 / 35, 5), (40_000, 3, 5), (90_000, 3, 5)):
        norm.updates.fill_(updates)
        assert [float(bound) for bound in norm.bounds()] == pytest.approx([r, d], rel=1e-6)
    after_update(norm)
    assert norm.state_dict()["updates"] == 90_001


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.norm={kind: batch-renorm, begin: 10, r_by: 5}"], "r_by = 5 is before model.norm.begin = 10"),
        (["model.norm={kind: batch-renorm, r_max: 0.5}"], "r_max"),
        (["model.norm={kind: batch-renorm, statistics: frozen}"], "statistics"),
        (["model.norm=batch-renorm", "train.steps=60"], "model.norm.begin = 5000: before that update"),
        (
            ["model.norm={kind: batch-renorm, begin: 1}", "train.recompute=true"],
            "model.norm.kind = batch-renorm would update its running averages twice",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(words, said):
    with pytest.raises(spec.SpecError, match=said):
        spec.resolve(["digits", *words])
    with pytest.raises(spec.SpecError, match="takes its mean over positions"):
        spec.resolve(["tiny", "model.norm=batch-renorm"])
