"""Paule and Mandel's variance by its equation, and how often predictions two rungs beyond cover."""

from __future__ import annotations

import math

import numpy as np
import pytest

from danlu.lab.statistics.across import design, fit
from danlu.lab.statistics.means import t_quantile
from danlu.lab.statistics.random_effects import solve

STEP = math.log(4)


def test_the_weighted_squares_are_as_many_as_they_should_be() -> None:
    random = np.random.default_rng(1)
    x, zeros = np.arange(6) * STEP, 0
    for _ in range(50):
        v = random.uniform(0.5, 2, 6)
        y = random.normal(0, np.sqrt(v + random.uniform(0, 2)))
        tau2 = float(solve(design(x), y, v).tau2)
        # NumPy's polyfit takes 1/σ as weights.
        line = np.polyfit(x, y, 1, w=1 / np.sqrt(v + tau2))
        squares = ((y - np.polyval(line, x)) ** 2 / (v + tau2)).sum()
        zeros += tau2 == 0
        assert squares == pytest.approx(4, rel=1e-6) if tau2 else squares <= 4 + 1e-9
    assert 0 < zeros < 50


def test_without_a_variance_between_it_is_weighted_least_squares() -> None:
    x, v = np.arange(5) * STEP, np.array([1.0, 2.0, 1.0, 3.0, 2.0]) * 1e-4
    y = 0.1 - 0.01 * x + 1e-5 * np.array([1, -1, 0, 1, -1])
    found = fit(x.tolist(), y.tolist(), v.tolist())
    slope, at_zero = np.polyfit(x, y, 1, w=1 / np.sqrt(v))
    assert found.tau2 == 0 and found.predict(7.0).value == pytest.approx(at_zero + slope * 7.0)
    covariance = np.polyfit(x, y, 1, w=1 / np.sqrt(v), cov="unscaled")[1]
    half = t_quantile(3, 0.9) * math.sqrt(covariance[0, 0])
    assert found.slope() == pytest.approx((slope, slope - half, slope + half))


def studies(spread: np.ndarray, tau: float) -> tuple[np.ndarray, ...]:
    """x, gains of 4,000 studies with ``spread`` of the noise at each rung, and of a new rung two beyond."""
    random = np.random.default_rng(2)
    k = len(spread)
    truth = random.normal(0, tau, (4000, k + 1))
    return np.arange(k) * STEP, truth[:, :k] + spread * random.normal(size=(4000, k)), truth[:, k]


def covered(spread: np.ndarray, tau: float) -> float:
    """How often the prediction of the new rung does, where the noise of each rung is known; ± .0035."""
    x, y, truth = studies(spread, tau)
    found = solve(design(x), y, spread**2)
    c = np.array([1, x[-1] + 2 * STEP - x.mean()])
    error = np.sqrt(found.tau2 + np.einsum("i,...ij,j->...", c, found.covariance, c))
    return float(np.mean(abs(found.beta @ c - truth) <= t_quantile(len(x) - 2, 0.95) * error))


# τ as a share of a pair's spread, of which four at each rung leave a half.
TABLE = {4: (1.0, 1.0, 0.98), 5: (1.0, 0.98, 0.95), 6: (1.0, 0.96, 0.945)}


@pytest.mark.parametrize("k", TABLE)
def test_predictions_two_rungs_beyond_cover_as_the_table_says(k: int) -> None:
    """More than they say where τ is small: t has the freedom of few rungs, whose variances are known well."""
    found = [covered(np.full(k, 0.5), tau) for tau in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(found, TABLE[k], atol=0.015)


@pytest.mark.parametrize("k", TABLE)
@pytest.mark.parametrize("change", [2.0, 0.5])
def test_they_cover_where_the_noise_of_the_last_rung_is_double_or_half(k: int, change: float) -> None:
    spread = 0.5 * np.geomspace(change**-0.5, change**0.5, k)
    found = [covered(spread, tau) for tau in (0.0, 0.25, 0.5, 1.0)]
    assert min(found) >= 0.935 - 2 * 0.0035, found


def test_taking_noise_for_all_there_is_covers_half() -> None:
    """Why there is a τ²: fixed effects with a normal quantile, at five rungs and τ = 1, as in the table."""
    x, y, truth = studies(np.full(5, 0.5), 1.0)
    columns, c = design(x), np.array([1, 4 * STEP])
    covariance = np.linalg.inv(columns.T @ columns)
    value, error = (y @ columns @ covariance) @ c, 0.5 * math.sqrt(c @ covariance @ c)
    assert np.mean(abs(value - truth) <= 1.96 * error) == pytest.approx(0.52, abs=0.03)
