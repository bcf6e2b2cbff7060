"""Fréchet distance, PSNR, memory, and what repeated halves say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from danlu.distances import (
    DistanceError,
    between_halves,
    energy,
    frechet,
    gaussians,
    halves,
    memory,
    nearest,
    psnr,
)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.integers(1, 6))
def test_frechet_is_that_of_the_matrix_root(seed: int, width: int) -> None:
    generator = np.random.default_rng(seed)
    roots = generator.normal(size=(2, width, width + 3))
    c, d = roots @ roots.transpose(0, 2, 1)
    a, b = generator.normal(size=(2, width))
    expected = np.sum((a - b) ** 2) + np.trace(c + d - 2 * sqrtm(c @ d).real)
    assert gaussians(a, c, b, d) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert gaussians(b, d, a, c) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert gaussians(a, c, a, c) == pytest.approx(0, abs=1e-6 * np.trace(c))


def test_frechet_of_independent_features_and_of_dead_ones() -> None:
    c, d = np.array([4.0, 1, 0, 0]), np.array([1.0, 1, 9, 0])
    expected = np.sum((np.sqrt(c) - np.sqrt(d)) ** 2)
    assert gaussians(np.zeros(4), np.diag(c), np.zeros(4), np.diag(d)) == pytest.approx(expected, rel=1e-12)
    sample = np.random.default_rng(0).normal(size=(50, 3))
    dead = np.column_stack([sample, np.zeros((50, 2))])
    other = np.random.default_rng(1).normal(1, 2, size=(50, 3))
    with_dead = np.column_stack([other, np.zeros((50, 2))])
    assert frechet(dead, with_dead).value == pytest.approx(frechet(sample, other).value, rel=1e-10)
    assert frechet(sample, sample + np.array([0.0, 3, 4])).value == pytest.approx(25, rel=1e-10)
    assert frechet(sample[::-1], other).value == pytest.approx(frechet(sample, other).value, rel=1e-12)


def test_errors_of_frechet_are_as_large_as_they_say() -> None:
    """Over fresh samples, to a factor of 1.3."""
    generator = np.random.default_rng(2)
    draws = [
        frechet(generator.normal(size=(200, 2)), generator.normal(1, 1, size=(200, 2)), seed=i)
        for i in range(150)
    ]
    spread = np.std([d.value for d in draws], ddof=1)
    assert 1 / 1.3 < np.sqrt(np.mean([d.error**2 for d in draws])) / spread < 1.3


def test_halves_find_the_error_of_a_mean() -> None:
    """s/√n of the difference of two means is √(1/80 + 4/50); the mean square over seeds knows it to 5 %."""
    generator = np.random.default_rng(3)
    squares = []
    for seed in range(100):
        a, b = generator.normal(size=(80, 1)), generator.normal(0, 2, size=(50, 1))
        error, how = halves(lambda x, y: float(x.mean() - y.mean()), a, b, repeats=20, seed=seed)
        squares.append(error**2)
    assert np.mean(squares) == pytest.approx(1 / 80 + 4 / 50, rel=0.15)
    assert how == "20 times two halves"
    assert np.isnan(halves(lambda x: 0.0, a, repeats=0)[0])


def test_data_against_themselves() -> None:
    data = np.random.default_rng(4).normal(size=(101, 2))
    found = between_halves("energy", lambda a, b: energy(a, b).value, data, repeats=30)
    assert found.counts == (50, 50) and abs(found.value) < 4 * found.error
    assert str(found).startswith("energy ") and "over 30 splits; 50 and 50 rows" in str(found)


def test_psnr() -> None:
    truth = np.random.default_rng(5).random((40, 3)) * 0.8
    assert psnr(truth + 0.1, truth).value == pytest.approx(20, rel=1e-12)
    assert psnr(truth + 0.1, truth).error == pytest.approx(0, abs=1e-12)
    assert psnr(truth * 255 + 25.5, truth * 255, peak=255).value == pytest.approx(20, rel=1e-12)
    assert psnr(truth, truth).value == np.inf
    assert psnr(np.ones((4, 1)) * 7, np.ones((4, 1))).value == np.inf  # clipped
    assert psnr(np.full((4, 1), -3.0), np.full((4, 1), 0.01)).value == pytest.approx(40, rel=1e-12)
    with pytest.raises(DistanceError, match="one for each"):
        psnr(truth, truth[:5])
    with pytest.raises(DistanceError, match="peak = 0"):
        psnr(truth, truth, peak=0)


def test_errors_of_psnr_are_as_large_as_they_say() -> None:
    generator = np.random.default_rng(6)
    truth = np.full((200, 4), 0.5)
    draws = [psnr(truth + 0.05 * generator.normal(size=truth.shape), truth) for _ in range(200)]
    spread = np.std([d.value for d in draws], ddof=1)
    assert np.mean([d.error for d in draws]) == pytest.approx(spread, rel=0.2)


def test_nearest_is_the_least_of_all() -> None:
    generator = np.random.default_rng(7)
    a, b = generator.normal(size=(30, 2)), generator.normal(size=(40, 2))
    np.testing.assert_allclose(nearest(a, b), cdist(a, b).min(axis=1), rtol=1e-15)
    np.testing.assert_allclose(nearest(a, b[::-1]), nearest(a, b), rtol=1e-15)


def test_memory_is_told_from_learning() -> None:
    generator = np.random.default_rng(8)
    train, held_out, fresh = (generator.normal(size=(n, 3)) for n in (400, 300, 500))
    learned = memory(fresh, train, held_out)
    assert learned.copies == 0
    assert abs(learned.share.value - 0.5) < 4 * learned.share.error
    assert abs(learned.nearer.value) < 4 * learned.nearer.error
    assert learned.to_train.counts == (500, 300)
    remembered = memory(train + 0.01 * generator.normal(size=train.shape), train, held_out)
    assert remembered.share.value - 0.5 > 8 * remembered.share.error
    assert remembered.nearer.value > 8 * remembered.nearer.error
    copied = memory(train, train, held_out)
    assert copied.copies == 400 and "400 copies" in str(copied)
