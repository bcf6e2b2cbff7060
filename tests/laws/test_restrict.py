"""Parameters that are given, tied or bounded, and what is minimised."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.laws import (
    ABSOLUTE,
    HUBER,
    LAWS,
    SQUARES,
    LawError,
    Loss,
    Points,
    bootstrap,
    fit,
    hold_out,
    law,
    restrict,
    tied,
)
from danlu.laws.answer import answer
from danlu.laws.fit import suited
from danlu.laws.formulas.overtraining import from_chinchilla
from tests.laws.cases import CASES

CHINCHILLA = law("chinchilla")
TIED, _ = restrict(CHINCHILLA, "alpha=beta")


def noisy(seed: int = 0, noise: float = 0.01, alpha: float = 0.34, beta: float = 0.3) -> Points:
    generator = np.random.default_rng(seed)
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(2e7, 2e9, 6), np.geomspace(1e9, 1e11, 6)))
    exact = CHINCHILLA.predict(np.array([1.7, 400.0, 600.0, alpha, beta]), {"n": n, "d": d})
    return Points(n=n, d=d, loss=exact * np.exp(noise * generator.standard_normal(len(n))))


QUICK = ("power-floor", "kaplan-nd", "chinchilla", "task-error")
NAMES = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in LAWS
    if len(LAWS[name].parameters) > 1
]


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_held_at_its_best_changes_nothing(name):
    one, points = LAWS[name], CASES[name].points(LAWS[name])
    truth = CASES[name].theta
    for j in (0, len(truth) - 1):
        held, fixed = restrict(one, f"{one.names[j]}={truth[j]!r}")
        found = fit(held, points, loss=SQUARES, fixed=fixed)
        np.testing.assert_allclose(found.vector, truth, rtol=1e-5)
        assert found.vector[j] == truth[j] and found.held(one.names[j]) == "fixed"


@pytest.mark.parametrize("loss", [HUBER, SQUARES, ABSOLUTE], ids=str)
def test_held_at_the_best_of_noisy_points_the_rest_stays(loss):
    points = noisy()
    free = fit(CHINCHILLA, points, loss=loss)
    held = fit(CHINCHILLA, points, loss=loss, fixed={"E": free.theta["E"], "beta": free.theta["β"]})
    assert held.objective == pytest.approx(free.objective, rel=1e-9)
    assert held.converged or loss is ABSOLUTE  # whose best lies in a kink, where no gradient vanishes
    np.testing.assert_allclose(held.vector, free.vector, rtol=1e-5)
    assert held.free.tolist() == [False, True, True, True, False]


@pytest.mark.parametrize("loss", [HUBER, SQUARES, ABSOLUTE], ids=str)
def test_a_tie_is_the_law_written_by_hand(loss):
    """Chinchilla's with α = β is the law of over-training in other letters."""
    points = noisy(beta=0.34)
    by_hand, found = fit(law("overtraining"), points, loss=loss), fit(TIED, points, loss=loss)
    assert found.converged
    assert found.objective == pytest.approx(by_hand.objective, rel=1e-9)
    E, A, B, alpha, beta = found.vector
    np.testing.assert_allclose(from_chinchilla(E, A, B, alpha), by_hand.vector, rtol=1e-5)
    assert alpha == beta and found.held("beta") == "= α" and found.held("α") == ""
    draws = bootstrap(found, 10)
    np.testing.assert_array_equal(draws.theta[:, 3], draws.theta[:, 4])


def test_a_tie_has_the_derivatives_of_the_law_it_makes():
    data = noisy()
    theta, step = np.array([1.7, 400.0, 600.0, 0.3, 9.0]), 1e-6  # the follower's own value counts for nothing
    weight = np.sin(np.arange(data.size))
    for j in range(5):
        h = step * theta[j] * (np.arange(5) == j)
        slope = (TIED.predict(theta + h, data) - TIED.predict(theta - h, data)) / (2 * step * theta[j])
        np.testing.assert_allclose(TIED.gradient(theta, data)[j], slope, rtol=1e-6, atol=1e-9)
        bend = (
            (TIED.gradient(theta + h, data) - TIED.gradient(theta - h, data)) @ weight / (2 * step * theta[j])
        )
        np.testing.assert_allclose(TIED.curvature(theta, data, weight)[j], bend, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_absolute_deviations_of_a_law_with_a_part_held(seed):
    """With its floor held at none the law is a power law, whose corners have one point fewer."""
    points = Points(x=np.geomspace(1e6, 1e10, 25), loss=noisy(seed)["loss"][:25])
    held = fit(law("power-floor"), points, loss=ABSOLUTE, fixed={"c": 0.0})
    whole = fit(law("power"), points, loss=ABSOLUTE)
    assert held.objective == pytest.approx(whole.objective, rel=1e-12) and held.converged


def test_ties_of_three_and_a_value_for_them():
    one = law("precision")
    held, fixed = restrict(one, "gamma_w=gamma_a, gamma_kv=γ_a, gamma_a=2")
    found = fit(held, CASES["precision"].points(one), fixed=fixed)
    assert [found.theta[name] for name in ("γ_w", "γ_a", "γ_kv")] == [2.0, 2.0, 2.0]
    assert int(found.free.sum()) == 5


def test_bounds():
    points = noisy()
    best = fit(CHINCHILLA, points).theta["E"]
    held, fixed = restrict(CHINCHILLA, f"E<={best - 0.05!r}")
    found = fit(held, points, fixed=fixed)
    assert found.theta["E"] == pytest.approx(best - 0.05) and fixed == {}
    assert any("E is at its bound" in warning for warning in found.warnings)
    same, _ = restrict(CHINCHILLA, f"E>={best - 0.05!r}, E<={best + 0.05!r}")
    np.testing.assert_allclose(fit(same, points).vector, fit(CHINCHILLA, points).vector, rtol=1e-5)


def test_what_is_held_is_held_for_the_held_out():
    points = noisy()
    held = hold_out(TIED, points, fixed={"E": 1.6}, loss=SQUARES)
    assert held.fit.theta["E"] == 1.6 and held.fit.theta["α"] == held.fit.theta["β"]
    assert held.fit.loss is SQUARES


def test_what_is_held_needs_fewer_points():
    few = noisy().take([0, 5, 17, 30])
    with pytest.raises(LawError, match="5 parameters"):
        fit(CHINCHILLA, few)
    found = fit(CHINCHILLA, few, fixed={"E": 1.7, "beta": 0.3})
    assert np.abs(found.residuals).max() < 0.05
    with pytest.raises(LawError, match="1 of them held, too many for 3 points"):
        fit(CHINCHILLA, few.take([0, 1, 2]), fixed={"E": 1.7})


def test_mse_of_logarithms_is_least_squares():
    """With its exponents given, rate-nd is a level: the mean of what the logarithms leave."""
    one, generator = law("rate-nd"), np.random.default_rng(0)
    columns = CASES["rate-nd"].columns
    exact = CASES["rate-nd"].points(one)["lr"]
    points = Points({**columns, "lr": exact * np.exp(0.1 * generator.standard_normal(len(exact)))})
    design = np.stack([np.ones(len(exact)), np.log(columns["n"]), np.log(columns["d"])], axis=1)
    level, by_n, by_d = np.linalg.lstsq(design, np.log(points["lr"]), rcond=None)[0]
    found = fit(one, points, loss=Loss.of("mse"))
    np.testing.assert_allclose(found.vector, [np.exp(level), by_n, by_d], rtol=1e-8)
    left = np.log(points["lr"]) + 0.7 * design[:, 1] - 0.3 * design[:, 2]
    held = fit(one, points, loss=SQUARES, fixed=dict(zip(one.names[1:], (-0.7, 0.3), strict=True)))
    np.testing.assert_allclose(held.vector, [np.exp(left.mean()), -0.7, 0.3], rtol=1e-8)


def test_a_width_that_suits_the_scatter():
    generator = np.random.default_rng(0)
    x = np.geomspace(1e6, 1e10, 400)
    loss = law("power").predict(np.array([12.0, 0.1]), {"x": x}) * np.exp(
        0.02 * generator.standard_normal(400)
    )
    sharp = suited(fit(law("power"), Points(x=x, loss=loss)))
    # The median of 400 sizes has a standard error of 1.17/√800 = 4 %; five of them.
    assert sharp.delta == pytest.approx(1.345 * 0.02, rel=0.2)
    points = noisy()
    wide = suited(fit(CHINCHILLA, points))
    assert answer(CHINCHILLA, points, loss=None, resamples=0, rungs=0).fit.loss == wide
    assert suited(fit(CHINCHILLA, CASES["chinchilla"].points(CHINCHILLA))).delta <= HUBER.delta


def test_a_loss_is_read():
    assert Loss.of("huber") == HUBER == Loss.of("huber:1e-3") != Loss.of("huber:0.003") == Loss(0.003)
    assert Loss.of("mse") == SQUARES and Loss.of("lad") == ABSOLUTE


@pytest.mark.parametrize(
    "said", ["val_loss", "huber:", "huber:0", "huber:-1", "huber:inf", "huber:x", "mse:2", ""]
)
def test_what_is_no_loss(said):
    with pytest.raises(LawError, match="the column of the loss is --column loss="):
        Loss.of(said)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("E", "it is E=1.7 "),
        ("E=", "it is E=1.7 "),
        ("E=1.7=2", "it is E=1.7 "),
        ("F=1", "no parameter F; it has E, A, B, α, β"),
        ("alpha=delta", "no parameter delta"),
        ("E=1,E=2", "E is held already"),
        ("alpha=beta,α=.3", "α is held already"),
        ("E<=beta", "a bound is a number"),
        ("E>=2,E<=1", "E has no room between 2 and 1"),
    ],
)
def test_what_holds_nothing(said, why):
    with pytest.raises(LawError, match=why):
        restrict(CHINCHILLA, said)


@pytest.mark.parametrize(
    ("fixed", "why"),
    [
        ({"α": 0.3, "β": 0.3}, "β is tied to a parameter that has a value"),
        ({"A": -1.0}, "A = -1 cannot be: it is a number above zero"),
        ({"E": np.nan}, "E = nan cannot be"),
        ({"E": 1.0, "A": 1.0, "B": 1.0, "α": 1.0}, "nothing is left to fit"),
    ],
)
def test_values_that_cannot_be_given(fixed, why):
    with pytest.raises(LawError, match=why):
        fit(tied(CHINCHILLA, {"α": "β"}), noisy(), fixed=fixed)
