"""What holds for every registered law: its derivatives are its derivatives, and exact points give it back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.laws import ABSOLUTE, HUBER, LAWS, SQUARES, Law, fit, solve
from tests.laws.cases import CASES

every_law = pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
nearby = st.lists(st.floats(-0.2, 0.2), min_size=20, max_size=20)


def around(law: Law, shifts: list[float]) -> np.ndarray:
    """Two parameter vectors within 20 % of the case's."""
    theta = np.array(CASES[law.name].theta)
    factors = 1 + np.array([shifts[: len(theta)], shifts[-len(theta) :]])
    return np.clip(theta * factors, *(law.natural(bound) for bound in law.bounds))


def differences(function, theta, step=1e-6):
    """Central differences of function (…,) → (…, ?), to each of the parameters, as a new axis 1."""
    columns = []
    for j in range(theta.shape[-1]):
        h = np.zeros_like(theta)
        h[:, j] = step * np.maximum(np.abs(theta[:, j]), 1e-3)
        columns.append((function(theta + h) - function(theta - h)) / (2 * h[:, j]).reshape(-1, *[1] * 1))
    return np.stack(columns, axis=1)


def test_every_law_has_a_case():
    assert set(LAWS) == set(CASES)


@every_law
@settings(max_examples=20, deadline=None)
@given(shifts=nearby)
def test_the_gradient_is_the_derivative(law, shifts):
    theta, columns = around(law, shifts), CASES[law.name].columns
    found = law.gradient(theta, columns)
    by_differences = differences(lambda t: law.predict(t, columns), theta)
    scale = np.abs(by_differences).max(axis=-1, keepdims=True) + 1e-300
    np.testing.assert_allclose(found / scale, by_differences / scale, rtol=1e-5, atol=1e-6)


@every_law
@settings(max_examples=10, deadline=None)
@given(shifts=nearby)
def test_the_curvature_is_the_derivative_of_the_gradient(law, shifts):
    if law.curvature is None:
        pytest.skip("differences stand in for it")
    theta, columns = around(law, shifts), CASES[law.name].columns
    weight = np.sin(1.0 + np.arange(len(next(iter(columns.values())))))
    found = law.curvature(theta, columns, weight)
    by_differences = differences(lambda t: law.gradient(t, columns) @ weight, theta)
    size = np.abs(theta)[:, :, None] * np.abs(theta)[:, None, :]
    scale = np.abs(by_differences * size).max(axis=(1, 2), keepdims=True) + 1e-300
    np.testing.assert_allclose(found * size / scale, by_differences * size / scale, atol=1e-6)


@every_law
def test_a_batch_is_its_members(law):
    theta, columns = around(law, [0.01 * i - 0.1 for i in range(20)]), CASES[law.name].columns
    stacked = np.stack([theta, theta[::-1]])
    for function in (law.predict, law.gradient):
        together = function(stacked, columns)
        np.testing.assert_allclose(together[1, 0], function(theta[1], columns), rtol=1e-12)
    assert law.predict(theta[0], columns).shape == next(iter(columns.values())).shape


@every_law
@pytest.mark.parametrize("loss", [HUBER, SQUARES, ABSOLUTE], ids=str)
def test_exact_points_give_the_parameters_back(law, loss):
    points = CASES[law.name].points(law)
    found = fit(law, points, loss=loss)
    np.testing.assert_allclose(found.vector, CASES[law.name].theta, rtol=1e-5)
    assert np.abs(found.residuals).max() < 1e-7
    assert found.converged


@every_law
def test_slopes_of_a_prediction_are_the_gradient(law):
    theta, columns = np.asarray(CASES[law.name].theta), CASES[law.name].columns
    exact = law.gradient(theta, columns) * np.where(law.logs, theta, 1.0)[:, None]
    slopes = law.slopes(lambda some: law.predict(some, columns), theta)
    # Central differences with a step of 1e-4 of a coordinate.
    np.testing.assert_allclose(slopes, exact, rtol=1e-3, atol=1e-5 * np.abs(exact).max())


@every_law
def test_a_law_says_what_it_is(law):
    assert law.formula and law.text.endswith(".") and "arXiv" in law.paper
    assert len(set(law.names)) == len(law.names)
    low, high = law.bounds
    for published in law.published.values():
        assert published.source
        assert (law.inner(np.array(published.values)) >= low).all()
        assert (law.inner(np.array(published.values)) <= high).all()


@every_law
def test_starts_are_finite_and_within_bounds(law):
    case = CASES[law.name]
    points = case.points(law)
    starts = law.starts(points, points[law.target])
    assert np.isfinite(starts).all()
    # Not one of them is lost before the descent begins.
    found = solve(law, points, points[law.target], starts, iterations=0)
    assert np.isfinite(found.objective).all()
