"""The batched solver against minimisers of one problem, its bounds, and what it says of convergence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from danlu.laws import ABSOLUTE, HUBER, SQUARES, Loss, Points, fit, law, objective, refit, solve
from danlu.laws.formulas.kaplan import PF_DAY

POWER, FLOOR = law("power"), law("power-floor")


def noisy(seed: int, points: int = 25, noise: float = 0.01) -> Points:
    generator = np.random.default_rng(seed)
    x = np.geomspace(1e6, 1e10, points)
    y = FLOOR.predict(np.array([60.0, 0.2, 1.8]), {"x": x})
    return Points(x=x, loss=y * np.exp(noise * generator.standard_t(3, points)))


@given(r=st.floats(-3, 3), delta=st.floats(0.01, 2))
def test_hubers_loss_joins_its_halves(r, delta):
    loss = Loss(delta)
    expected = 0.5 * r * r if abs(r) <= delta else delta * (abs(r) - 0.5 * delta)
    assert loss.value(np.array(r)) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    h = 1e-6
    slope = (loss.value(np.array(r + h)) - loss.value(np.array(r - h))) / (2 * h)
    assert loss.slope(np.array(r)) == pytest.approx(slope, abs=1e-6)


def test_the_ends_of_hubers_loss():
    r = np.array([-2.0, 0.5, 3.0])
    np.testing.assert_array_equal(SQUARES.value(r), r**2 / 2)
    np.testing.assert_array_equal(ABSOLUTE.value(r), np.abs(r))
    np.testing.assert_allclose(Loss(1e-9).value(r) / 1e-9, ABSOLUTE.value(r), rtol=1e-8)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), loss=st.sampled_from([HUBER, SQUARES, Loss(1e-2)]))
def test_no_other_minimiser_comes_lower(seed, loss):
    points = noisy(seed)
    found = fit(FLOOR, points, loss=loss)

    def value(u):
        return objective(FLOOR, np.append(np.exp(u[:2]), u[2]), points, loss) * 1e3

    for factor in (1.0, 1.05):
        start = np.append(np.log(found.vector[:2] * factor), found.vector[2])
        rival = minimize(value, start, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14})
        assert found.objective <= rival.fun / 1e3 * (1 + 1e-9)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_absolute_deviations_are_a_linear_programme(seed):
    # In logarithms a power law is a line, and the least sum of |r| a linear programme with an exact answer.
    points = noisy(seed, noise=0.05)
    x, y = np.log(points["x"]), np.log(points["loss"])
    m = len(x)
    design = np.stack([np.ones(m), -x], axis=1)
    programme = linprog(
        np.concatenate([np.zeros(2), np.ones(2 * m)]),
        A_eq=np.hstack([design, np.eye(m), -np.eye(m)]),
        b_eq=y,
        bounds=[(None, None)] * 2 + [(0, None)] * (2 * m),
    )
    found = fit(POWER, points, loss=ABSOLUTE)
    assert found.objective == pytest.approx(programme.fun, rel=1e-9)
    assert found.converged


def test_squares_in_logarithms_are_the_line_through_them():
    points = noisy(3)
    slope, level = np.polyfit(np.log(points["x"]), np.log(points["loss"]), 1)
    found = fit(POWER, points, loss=SQUARES)
    np.testing.assert_allclose(found.vector, [np.exp(level), -slope], rtol=1e-9)


def test_whole_weights_are_repeated_points():
    points, counts = noisy(4), np.arange(25) % 3
    weighted = fit(FLOOR, points, weights=counts.astype(float))
    repeated = fit(FLOOR, points.take(np.repeat(np.arange(25), counts)))
    assert weighted.objective == pytest.approx(repeated.objective, rel=1e-10)
    np.testing.assert_allclose(weighted.vector, repeated.vector, rtol=1e-6)


def test_problems_of_a_batch_are_solved_as_if_alone():
    points = noisy(5)
    targets = np.stack([noisy(seed)["loss"] for seed in range(6)])
    starts = np.tile([60.0, 0.2, 1.8], (6, 1))
    together = solve(FLOOR, points, targets, starts)
    for row in range(6):
        alone = solve(FLOOR, points, targets[row], starts[row : row + 1])
        assert alone.objective[0] == pytest.approx(together.objective[row], rel=1e-12)
    assert together.converged.all() and (together.gradient < 1e-10).all()


def test_a_bound_holds_and_is_told():
    # A pure power law bent downwards leaves nothing for a floor.
    x = np.geomspace(1e6, 1e10, 12)
    y = 30 * x**-0.1 * np.exp(-0.01 * np.log(x / 1e8) ** 2)
    found = fit(FLOOR, Points(x=x, loss=y), loss=SQUARES)
    assert found.theta["c"] == 0 and found.converged
    assert any(warning == "c is at its bound, 0" for warning in found.warnings)
    np.testing.assert_allclose(
        found.vector[:2], fit(POWER, Points(x=x, loss=y), loss=SQUARES).vector, rtol=1e-7
    )


def test_as_many_parameters_as_points_is_told():
    x = np.geomspace(1e6, 1e10, 3)
    found = fit(FLOOR, Points(x=x, loss=FLOOR.predict(np.array([60.0, 0.2, 1.8]), {"x": x})))
    said = "power-floor has as many parameters as there are points, so that nothing tests it: no intervals"
    assert said in found.warnings


def test_a_start_without_an_objective_is_left_out():
    points = noisy(6)
    starts = np.array([[60.0, 0.2, 1.8], [np.inf, 0.2, 1.8]])
    found = solve(FLOOR, points, points["loss"], starts)
    assert np.isfinite(found.objective[0]) and found.converged[0]
    assert found.objective[1] == np.inf and not found.converged[1]


def test_refits_need_something_of_their_own():
    from danlu.laws import LawError

    with pytest.raises(LawError, match="weights or targets"):
        refit(fit(FLOOR, noisy(7)))


@pytest.mark.parametrize("name", ["kaplan-n", "kaplan-d", "kaplan-c", "kaplan-nd", "kaplan-ns"])
def test_kaplans_constants_from_points_made_with_them(name):
    kaplan = law(name)
    generator = np.random.default_rng(0)
    truth = kaplan.theta("kaplan")
    span = {"n": (1e5, 1e10), "d": (2e7, 2e10), "c": (1e-6 * PF_DAY, 1e3 * PF_DAY), "s": (1e3, 1e6)}
    columns = {c: np.exp(generator.uniform(*np.log(span[c]), 200)) for c in kaplan.columns}
    exact = kaplan.predict(truth, columns)
    np.testing.assert_allclose(fit(kaplan, Points(columns, loss=exact)).vector, truth, rtol=1e-6)
    # With noise of half a per cent: exponents within four standard errors, taken from the Jacobian.
    noisy = Points(columns, loss=exact * np.exp(0.005 * generator.standard_normal(200)))
    found = fit(kaplan, noisy, loss=SQUARES)
    J = kaplan.gradient(truth, columns) / exact * np.where(kaplan.logs, truth, 1.0)[:, None]
    error = 0.005 * np.sqrt(np.diag(np.linalg.inv(J @ J.T)))
    assert (np.abs(kaplan.inner(found.vector) - kaplan.inner(truth)) < 4 * error).all()
