"""Energy distance and MMD: closed forms, SciPy, no bias, errors that are as large as they say."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

from danlu.distances import Distance, DistanceError, energy, mmd


def folded(mean: float, sd: float) -> float:
    """E|N(mean, sd²)|."""
    part = sd * np.sqrt(2 / np.pi) * np.exp(-(mean**2) / (2 * sd**2))
    return float(part + mean * (1 - 2 * NormalDist().cdf(-mean / sd)))


def shifted_energy(shift: float) -> float:
    """Of N(0, 1) and N(shift, 1)."""
    return 2 * (folded(shift, np.sqrt(2)) - folded(0, np.sqrt(2)))


def shifted_mmd(shift: float) -> float:
    """Of the same: E exp(−(N(a, 2))²/(2b²)) = b/√(b² + 2) · exp(−a²/(2(b² + 2)))."""
    widths = np.array([0.25, 1.0, 4.0]) ** 2
    kernels = np.sqrt(widths / (widths + 2))
    return float(np.mean(2 * kernels * (1 - np.exp(-(shift**2) / (2 * (widths + 2))))))


def brute(a: np.ndarray, b: np.ndarray) -> float:
    n, m = len(a), len(b)
    within = cdist(a, a).sum() / (n * (n - 1)) + cdist(b, b).sum() / (m * (m - 1))
    return float(2 * cdist(a, b).mean() - within)


@pytest.mark.parametrize(("n", "m"), [(4, 7), (1500, 700)])
def test_blocks_sum_to_the_whole(n: int, m: int) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(n, 3)), generator.exponential(size=(m, 3))
    assert energy(a, b).value == pytest.approx(brute(a, b), abs=1e-12)


def test_point_masses() -> None:
    here, there = np.zeros((5, 2)), np.tile([3.0, 4.0], (9, 1))
    assert energy(here, there).value == pytest.approx(10, abs=1e-12)
    assert energy(here, there).error == pytest.approx(0, abs=1e-6)
    assert energy(here, np.zeros((9, 2))).value == 0
    assert mmd(here, there, (5.0,)).value == pytest.approx(2 - 2 * np.exp(-0.5), abs=1e-12)


def test_on_a_line_it_is_scipys_without_self_pairs() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=50), generator.gamma(2, size=80)
    with_self_pairs = stats.energy_distance(a, b) ** 2
    twice = [float(cdist(s[:, None], s[:, None]).mean()) / (len(s) - 1) for s in (a, b)]
    assert energy(a, b).value == pytest.approx(with_self_pairs - sum(twice), abs=1e-12)


@pytest.mark.parametrize(("measure", "exact"), [(energy, shifted_energy), (mmd, shifted_mmd)])
@pytest.mark.parametrize("shift", [0.0, 0.4, 1.5])
def test_no_bias_and_errors_as_large_as_they_say(
    measure: Callable[..., Distance], exact: Callable[[float], float], shift: float
) -> None:
    generator = np.random.default_rng(2)
    draws = [measure(generator.normal(size=40), generator.normal(shift, size=60)) for _ in range(300)]
    values, errors = (np.array([getattr(d, name) for d in draws]) for name in ("value", "error"))
    spread = values.std(ddof=1)
    assert abs(values.mean() - exact(shift)) < 4 * spread / np.sqrt(300)
    # Of 300 draws a standard deviation is known to 4 % (normal) and a little worse (χ²); where both laws are
    # one, the part that is estimated to vanish is cut at 0, which makes errors larger.
    assert 0.85 < np.sqrt(np.mean(errors**2)) / spread < (1.4 if shift == 0 else 1.2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
def test_what_changes_nothing(seed: int, scale: float) -> None:
    """Order of rows, order of samples, turning and moving; and scale goes as itself."""
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(12, 3)), generator.normal(1, size=(9, 3))
    turned, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    for measure in (energy, mmd):
        whole = measure(a, b)
        others = (
            measure(generator.permutation(a), generator.permutation(b)),
            measure(b, a),
            measure(a @ turned + 5, b @ turned + 5),
        )
        for other in others:
            assert (other.value, other.error) == pytest.approx((whole.value, whole.error), abs=1e-10)
    first, grown = energy(a, b), energy(scale * a, scale * b)
    assert (grown.value, grown.error) == pytest.approx((scale * first.value, scale * first.error), rel=1e-6)
    same = mmd(scale * a, scale * b, (scale,))
    assert same.value == pytest.approx(mmd(a, b, (1.0,)).value, abs=1e-10)


@pytest.mark.slow
def test_five_thousand_against_five_thousand_stay_small() -> None:
    samples = np.random.default_rng(0).normal(size=(2, 5000, 64))
    tracemalloc.start()
    assert abs(energy(*samples).value) < 5 * energy(*samples).error
    mmd(*samples, (4.0, 8.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: energy(np.zeros((4, 2)), np.zeros((4, 3))), "2 and 3 dimensions"),
        (lambda: energy(np.zeros((3, 2)), np.zeros((4, 2))), "3 rows; this measure needs 4"),
        (lambda: energy(np.full((4, 2), np.nan), np.zeros((4, 2))), "NaN or infinity"),
        (lambda: energy(np.zeros((4, 2, 2)), np.zeros((4, 2))), r"shape \(4, 2, 2\)"),
        (lambda: mmd(np.zeros(4), np.zeros(4), ()), "give some above 0"),
        (lambda: mmd(np.zeros(4), np.zeros(4), (0.0,)), "give some above 0"),
    ],
)
def test_what_does_not_fit_gets_its_sentence(make, said: str) -> None:
    with pytest.raises(DistanceError, match=said):
        make()
