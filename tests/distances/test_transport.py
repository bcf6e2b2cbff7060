"""Wasserstein distances against SciPy, POT and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from danlu.distances import (
    DistanceError,
    directions,
    energy,
    modes_of,
    sliced,
    stratify,
    wasserstein,
    wasserstein_line,
)

ANGLES = np.arange(8) * np.pi / 4
CENTRES = 4 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def eight(generator: np.random.Generator, count: int) -> np.ndarray:
    return CENTRES[generator.integers(8, size=count)] + 0.3 * generator.normal(size=(count, 2))


def test_a_shift_costs_its_length() -> None:
    sample, shift = np.random.default_rng(0).normal(size=(60, 3)), np.array([1.0, 2, 2])
    assert wasserstein(sample, sample + shift).value == pytest.approx(3, rel=1e-12)
    assert wasserstein(sample, sample).value == 0
    lines = directions(3, 50)
    expected = np.sqrt(np.mean((lines @ shift) ** 2))
    assert sliced(sample, sample + shift, lines).value == pytest.approx(expected, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 20), m=st.integers(1, 20))
def test_on_a_line_it_is_scipys(seed: int, n: int, m: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=n), generator.exponential(size=m)
    found = wasserstein_line(a, b, order=1, repeats=0)
    assert found.value == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-12)
    repeated = np.repeat(a, m), np.repeat(b, n)
    second = wasserstein_line(a, b, repeats=0).value
    assert second == pytest.approx(wasserstein_line(*repeated, repeats=0).value, rel=1e-12)
    assert second == pytest.approx(wasserstein(*repeated, repeats=0).value, rel=1e-12)
    assert found.value <= second * (1 + 1e-12)
    assert sliced(a, b, [[-2.0]], repeats=0).value == pytest.approx(second, rel=1e-12)


def test_assignment_is_pots() -> None:
    ot = pytest.importorskip("ot")
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(80, 4)), generator.exponential(size=(80, 4))
    weights = np.full(80, 1 / 80)
    exact = ot.emd2(weights, weights, ot.dist(a, b))
    assert wasserstein(a, b).value ** 2 == pytest.approx(exact, rel=1e-10)
    shifted = ot.sliced_wasserstein_distance(a, b, projections=directions(4, 30).T)
    assert sliced(a, b, directions(4, 30)).value == pytest.approx(shifted, rel=1e-10)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_order_of_rows_is_no_matter_and_lines_are_nearer(seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(15, 2)), generator.normal(1, size=(15, 2))
    lines = directions(2, 40)
    moved = generator.permutation(a), generator.permutation(b)
    for measure in (wasserstein, lambda x, y, repeats: sliced(x, y, lines, repeats=repeats)):
        assert measure(*moved, repeats=0).value == pytest.approx(measure(a, b, repeats=0).value, rel=1e-12)
    assert sliced(a, b, lines, repeats=0).value <= wasserstein(a, b, repeats=0).value


def test_gaussians_of_one_dimension() -> None:
    """W₂² = (μ₁ − μ₂)² + (σ₁ − σ₂)², here √(1 + 1); within four of its errors."""
    generator = np.random.default_rng(2)
    found = wasserstein_line(generator.normal(size=20_000), generator.normal(1, 2, size=20_000))
    assert abs(found.value - np.sqrt(2)) < 4 * found.error and found.error < 0.05


def test_errors_of_a_shift_are_as_large_as_they_say() -> None:
    """Over fresh samples, to a factor of 1.25: 150 draws know a standard deviation to 6 %."""
    generator = np.random.default_rng(3)
    draws = [
        wasserstein_line(generator.normal(size=100), generator.normal(2, 1, size=100), seed=i)
        for i in range(150)
    ]
    spread = np.std([d.value for d in draws], ddof=1)
    typical = np.sqrt(np.mean([d.error**2 for d in draws]))
    assert 1 / 1.25 < typical / spread < 1.25


def test_counts_of_modes_are_most_of_w2_and_strata_take_them_out() -> None:
    generator = np.random.default_rng(4)
    plain, even, off = [], [], []
    for i in range(20):
        a, b = eight(generator, 300), eight(generator, 300)
        strata = stratify(a, b, CENTRES, seed=i)
        kept = [np.bincount(modes_of(s, CENTRES), minlength=8) for s in (strata.x, strata.y)]
        np.testing.assert_array_equal(kept[0], np.minimum(strata.x_counts, strata.y_counts))
        np.testing.assert_array_equal(kept[0], kept[1])
        plain.append(wasserstein(a, b, repeats=0).value)
        even.append(wasserstein(strata.x, strata.y, repeats=0).value)
        off.append(strata.off)
    assert np.mean(even) < np.mean(plain) / 3
    # χ² with 7 degrees of freedom, whose mean of 20 has the standard deviation √(14/20).
    assert abs(np.mean(off) - 7) < 4 * np.sqrt(14 / 20)


@pytest.mark.slow
def test_eight_gaussians_as_others_measured_them() -> None:
    """2,000 against 2,000: noise W₂ 2.85, sliced 1.94, energy 1.44; data against data .51 ± .05, .23 ± .03.
    The energy distance of data against data, over 200 pairs of 500, has the standard deviation .0124, hence
    .0031 here; the estimate of it is cut at one part, so it is seldom much smaller."""
    generator = np.random.default_rng(5)
    noise, data, fresh = generator.normal(size=(2000, 2)), eight(generator, 2000), eight(generator, 2000)
    lines = directions(2, 100)
    assert wasserstein(noise, data, repeats=0).value == pytest.approx(2.85, abs=0.1)
    assert sliced(noise, data, lines).value == pytest.approx(1.94, abs=0.1)
    assert energy(noise, data).value == pytest.approx(1.44, abs=4 * energy(noise, data).error + 0.005)
    same = energy(fresh, data)
    assert abs(same.value) < 4 * same.error and same.error == pytest.approx(0.0031, rel=0.6)
    assert 0.2 < wasserstein(fresh, data, repeats=0).value < 0.8
    assert 0.1 < sliced(fresh, data, lines).value < 0.4


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: wasserstein(np.zeros((3, 2)), np.zeros((4, 2))), "equally many"),
        (lambda: wasserstein(np.zeros(5001), np.zeros(5001)), "use sliced"),
        (lambda: wasserstein(np.zeros((3, 2)), np.zeros((3, 2))), "need 4, or give repeats=0"),
        (lambda: wasserstein_line(np.zeros((5, 2)), np.zeros((5, 2))), "use wasserstein"),
        (lambda: wasserstein_line(np.zeros(5), np.zeros(5), 3), "order = 3"),
        (lambda: sliced(np.zeros((5, 2)), np.zeros((5, 2)), [[1.0]]), r"give finite \(lines, 2\)"),
        (lambda: sliced(np.zeros((5, 2)), np.zeros((5, 2)), [[0.0, 0]]), "length 0"),
        (lambda: stratify(np.zeros((5, 1)), np.ones((5, 1)), [[0.0], [1]]), "without strata"),
    ],
)
def test_what_does_not_fit_gets_its_sentence(make, said: str) -> None:
    with pytest.raises(DistanceError, match=said):
        make()
