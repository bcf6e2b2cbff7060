"""Statistics of tensors, against SciPy and NumPy, and by identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from danlu.inspection import numbers
from danlu.inspection.numbers import excess_kurtosis


def test_kurtosis() -> None:
    draw = np.random.default_rng(0)
    normal = draw.normal(3, 2, 1_000_000)
    assert abs(float(excess_kurtosis(torch.from_numpy(normal)))) < 5 * math.sqrt(24 / len(normal))
    skewed = draw.exponential(size=(30, 40))
    assert float(excess_kurtosis(torch.from_numpy(skewed))) == pytest.approx(
        scipy.stats.kurtosis(skewed, axis=None), rel=1e-12
    )
    assert float(excess_kurtosis(torch.tensor([-1.0, 1.0]))) == -2


def stream(rows: int = 3, length: int = 7, width: int = 5) -> torch.Tensor:
    draw = np.random.default_rng(1)
    return torch.from_numpy(draw.exponential(50, size=(rows, length, width)))


def test_three_kurtoses_of_one_stream() -> None:
    """SciPy's moments are of one axis each; Bondarenko's std is unbiased, √(n/(n − 1)) times the biased."""
    x = stream()
    flat = x.numpy().reshape(len(x), -1)
    n = flat.shape[1]
    raw = scipy.stats.kurtosis(flat, axis=1, fisher=False)
    assert float(numbers.sequence_kurtosis(x)) == pytest.approx((raw * ((n - 1) / n) ** 2).mean(), rel=1e-9)
    by_token = scipy.stats.kurtosis(x.numpy(), axis=-1, fisher=False)
    assert float(numbers.token_kurtosis(x)) == pytest.approx(by_token.mean(), rel=1e-12)
    pooled = scipy.stats.kurtosis(x.numpy(), axis=None)
    assert float(numbers.excess_kurtosis(x)) == pytest.approx(pooled, rel=1e-12)


def test_one_channel_of_many_has_the_kurtosis_of_a_rare_event() -> None:
    """A Bernoulli number of probability p has (1 − 3p(1 − p))/(p(1 − p))."""
    x = torch.zeros(2, 3, 64)
    x[..., 7] = 9.0
    p = 1 / 64
    assert float(numbers.token_kurtosis(x)) == pytest.approx((1 - 3 * p * (1 - p)) / (p * (1 - p)), rel=1e-9)
    x[0, 1] = 1.0  # a constant position tells nothing
    assert float(numbers.token_kurtosis(x)) == pytest.approx((1 - 3 * p * (1 - p)) / (p * (1 - p)), rel=1e-9)


def test_the_largest_of_a_sequence_is_averaged() -> None:
    x = torch.zeros(2, 3, 4)
    x[0, 1, 2], x[1, 0, 0] = -8.0, 2.0
    assert float(numbers.sequence_max(x)) == 5.0


def test_massive_activations_are_large_and_rare() -> None:
    x = torch.full((2, 50, 10), 0.05)
    x[0, 0, 3], x[1, 0, 3], x[1, 2, 3], x[1, 4, 4] = 101.0, -5000.0, 99.0, 101.0
    assert float(numbers.massive(x)) == 1.5
    assert float(numbers.massive(x * 4)) == 2.0  # 99 · 4 is above 100 now, and above 1000 medians
    assert float(numbers.massive(x + 1)) == 0.5  # the median is 1.05, so that 102 is no outlier


def test_position_0_against_the_others() -> None:
    x = torch.ones(2, 3, 5, 4)
    x[:, :, 0] *= 7
    assert float(numbers.first_to_others(x)) == pytest.approx(7)


def test_ranks() -> None:
    draw = np.random.default_rng(2)
    basis = np.linalg.qr(draw.normal(size=(9, 9)))[0]
    even = numbers.singular_values(torch.from_numpy(3 * basis[:6]))
    assert float(numbers.effective_rank(even)) == pytest.approx(6, rel=1e-9)
    assert float(numbers.stable_rank(even)) == pytest.approx(6, rel=1e-9)
    one = numbers.singular_values(torch.from_numpy(np.outer(draw.normal(size=40), draw.normal(size=9))))
    assert float(numbers.effective_rank(one)) == pytest.approx(1, abs=1e-5)
    assert float(numbers.stable_rank(one)) == pytest.approx(1, rel=1e-9)
    for shape in ((4, 5, 9), (12, 9), (5, 9)):
        x = draw.normal(size=shape)
        s = np.linalg.svd(x.reshape(-1, 9), compute_uv=False)
        found = numbers.singular_values(torch.from_numpy(x))
        assert float(numbers.effective_rank(found)) == pytest.approx(
            math.exp(scipy.stats.entropy(s)), rel=1e-9
        )
        assert float(numbers.stable_rank(found)) == pytest.approx((s**2).sum() / s.max() ** 2, rel=1e-9)


def test_mean_cosine_is_that_of_all_pairs() -> None:
    x = stream() - 50
    flat = x.numpy().reshape(-1, 5)
    units = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    pairs = [units[i] @ units[j] for i in range(len(units)) for j in range(i)]
    assert float(numbers.mean_cosine(x)) == pytest.approx(np.mean(pairs), rel=1e-9)


def test_influence_is_of_the_angle_alone() -> None:
    x = stream()
    assert float(numbers.influence(x, 5 * x)) == pytest.approx(0, abs=1e-9)
    assert float(numbers.influence(x, -x)) == pytest.approx(2)


def test_dead_and_dormant_units() -> None:
    x = torch.ones(2, 10, 8)
    x[..., 0] = 0
    x[..., 1] = 0
    x[1, 3, 1] = 0.1  # once on: not dead, but dormant
    x[..., 2] = -1.0  # on, though negative
    assert float(numbers.dead(x)) == 1 / 8
    assert float(numbers.dormant(x)) == 2 / 8
    assert float(numbers.dormant(x, 0.0)) == 1 / 8


def test_log_z_of_log_probabilities_is_zero() -> None:
    logits = torch.randn(3, 4, 9, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    assert float(numbers.log_partition(logits + 2.5)) == pytest.approx(2.5, abs=1e-6)
