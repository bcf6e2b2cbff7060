"""Differences in few bits: to the nearest of a table of levels, and what a table keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from danlu.optim.few_bits import LEVELS, linear, powers, statistical


def drawn(count: int = 2000) -> Tensor:
    return torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def nearest(x: Tensor, grid: Tensor) -> Tensor:
    return grid[(x[:, None] - grid).abs().argmin(1)]


@pytest.mark.parametrize("bits", [2, 4])
def test_powers_are_the_nearest_of_their_numbers(bits: int) -> None:
    """Of four bits fifteen (E3M0), of two three."""
    x = drawn()
    largest, halvings = x.abs().max(), 2 ** (bits - 1) - 2
    levels = torch.tensor([0.0, *(2.0**-k for k in range(halvings + 1))], dtype=torch.float64) * largest
    found = powers(x, bits)
    torch.testing.assert_close(found, nearest(x, torch.cat((levels, -levels))), rtol=0, atol=0)
    assert torch.equal(powers(found, bits), found) and found.unique().numel() == 2**bits - 1
    if bits == 4:
        inside = x.abs() > largest / 64
        assert ((found - x).abs()[inside] <= x.abs()[inside] / 3 * (1 + 1e-12)).all()


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_linear_is_the_nearest_at_equal_distances(bits: int) -> None:
    x = drawn()
    grid = torch.linspace(float(x.min()), float(x.max()), 2**bits, dtype=torch.float64)
    torch.testing.assert_close(linear(x, bits), nearest(x, grid), rtol=0, atol=1e-12)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_statistical_gives_the_means_of_equal_bins(bits: int) -> None:
    """Against numpy: 2^bits bins that together span six standard deviations, the outermost open."""
    x = drawn()
    count, numbers = 2**bits, x.numpy()
    apart, width = numbers - numbers.mean(), 6 * numbers.std(ddof=1) / count
    bins = np.digitize(apart, (np.arange(1, count) - count // 2 - 0.5) * width)
    sums, members = (np.bincount(bins, weights, count) for weights in (numbers, None))
    wanted = (sums / np.maximum(members, 1))[bins]
    found = statistical(x, bits)
    torch.testing.assert_close(found, torch.from_numpy(wanted), rtol=0, atol=1e-12)
    assert found.unique().numel() <= count
    assert abs(float(found.mean() - x.mean())) < 1e-14


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_type_stay_and_a_table_can_hold_what_is_alike(name: str, dtype: torch.dtype) -> None:
    for x in (torch.zeros(3), torch.full((2, 3), 0.5), torch.tensor(0.25), -torch.ones(1)):
        x = x.to(dtype)
        found = LEVELS[name](x, 2)
        assert found.dtype == dtype and found.shape == x.shape and torch.equal(found, x)


def test_two_bits_of_a_normal_are_as_near_as_their_bins_allow() -> None:
    """What is left of the variance is that within the bins, which a normal density says; the mean of 10⁶
    squares within five standard errors."""
    x = torch.randn(10**6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    edges = [-np.inf, -2.25, -0.75, 0.75, np.inf]
    density = torch.distributions.Normal(0.0, 1.0)
    mass = [float(density.cdf(torch.tensor(e))) for e in edges]
    height = [0.0 if np.isinf(e) else float(density.log_prob(torch.tensor(e)).exp()) for e in edges]
    between = sum(
        (h1 - h2) ** 2 / (m2 - m1) for h1, h2, m1, m2 in zip(height, height[1:], mass, mass[1:], strict=False)
    )
    squares = (statistical(x, 2) - x).square()
    assert abs(float(squares.mean()) - (1 - between)) < 5 * float(squares.std()) / 1000
