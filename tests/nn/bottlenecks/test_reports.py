"""What is told of a whole set is the set's, and not a mean over batches."""

from __future__ import annotations

import math

import pytest
import torch

from danlu.nn.bottlenecks import ActiveUnits, Usage


def test_perplexity_is_that_of_the_whole_set():
    """Batches that use a code each: 1 by the batch, 16 over all."""
    usage, by_batch = Usage(codes=32), []
    for code in range(16):
        batch = torch.full((10, 1), code)
        usage.add(batch)
        alone = Usage(codes=32)
        alone.add(batch)
        by_batch.append(float(alone.perplexity))
    assert by_batch == [1.0] * 16
    assert float(usage.perplexity) == pytest.approx(16)
    assert usage.used.tolist() == [16]
    assert usage.bits == pytest.approx(4)


def test_random_batches_are_below_the_set_too():
    codes = torch.randint(64, (100, 16, 1))
    usage, by_batch = Usage(codes=64), []
    for batch in codes:
        usage.add(batch)
        alone = Usage(codes=64)
        alone.add(batch)
        by_batch.append(float(alone.perplexity))
        assert by_batch[-1] <= 16  # of 16 vectors
    assert sum(by_batch) / 100 < 16 < 60 < float(usage.perplexity) <= 64
    share = torch.bincount(codes.flatten(), minlength=64) / codes.numel()
    assert float(usage.perplexity) == pytest.approx(math.exp(torch.special.entr(share.double()).sum()))


def test_groups_are_counted_apart():
    usage = Usage(codes=3, groups=2)
    usage.add(torch.tensor([[[0, 2], [1, 2]], [[0, 2], [1, 0]]]))
    assert usage.counts.tolist() == [[2, 2, 0], [1, 0, 3]]
    assert usage.used.tolist() == [2, 2]
    assert usage.bits == pytest.approx(1 + (2 - 0.75 * math.log2(3)))


def test_active_units_are_those_that_vary():
    """By uneven batches as at once, though the mean is 10⁶ times the deviation."""
    x = torch.randn(1000, 4, dtype=torch.float64) * torch.tensor([1.0, 0.2, 0.05, 0.0]) + 1e4
    units = ActiveUnits(4)
    for part in x.split([1, 99, 400, 500]):
        units.add(part.view(len(part), 1, 4))
    torch.testing.assert_close(units.variance, x.var(0, correction=0), rtol=1e-6, atol=1e-12)
    assert units.active() == 2
    assert units.active(above=1e-3) == 3
