"""Broken laws: four-digit addition, double descent, the number of breaks, scores of extrapolation."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from bench.extrapolation import SHIFTED, read_tasks, score, summary
from danlu.laws import SQUARES, LawError, Points, fit, law
from danlu.laws.formulas.bnsl import DOUBLE_DESCENT, bnsl, choose, outside, rmsle


@pytest.fixture(scope="module")
def addition(scaling):
    with scaling("bnsl/four_digit_addition.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    every = Points(x=[row["dataset_size"] for row in rows], loss=[row["test_cross_entropy"] for row in rows])
    train = np.array([row["split"] == "train" for row in rows])
    return every.take(train), every.take(~train)


def published_error(points):
    given = law("bnsl-1").theta("four-digit-addition")
    return np.sqrt(np.mean(np.log(law("bnsl-1").predict(given, points) / points["loss"]) ** 2))


def test_the_published_fit_of_four_digit_addition_has_the_published_errors(addition):
    near, far = addition
    assert published_error(near) == pytest.approx(0.00060, abs=5e-6)
    assert published_error(far) == pytest.approx(0.0109, abs=5e-5)


def test_four_digit_addition(addition):
    near, far = addition
    found = fit(law("bnsl-1"), near, loss=SQUARES)
    assert found.converged and not found.warnings and found.agreeing_starts > found.starts / 2
    # Not worse than the published one where both were fitted, and as near beyond the break as its error says.
    assert rmsle(found, near) <= published_error(near)
    assert rmsle(found, far) <= 0.0109 * 1.03
    # A power law above a floor has never seen the break.
    assert rmsle(fit(law("power-floor"), near, loss=SQUARES), far) > 10 * rmsle(found, far)


@pytest.mark.slow
def test_the_number_of_breaks_of_noisy_points():
    x = np.geomspace(10, 1e6, 60)
    noise = np.random.default_rng(0).normal(0, 0.005, 60)
    truth = bnsl(1).predict(np.array([0.1, 5.0, 0.1, 0.5, 1000.0, 0.2]), {"x": x})
    for by in ("held-out", "bic"):
        chosen = choose(Points(x=x, loss=truth * np.exp(noise)), by=by)
        assert chosen.breaks >= 1 and chosen.scores[0] > chosen.scores[1]
        assert chosen.scores[chosen.breaks] == min(chosen.scores.values())
        assert rmsle(chosen.fit, Points(x=x, loss=truth)) < 0.005
    straight = Points(x=x, loss=5 * x**-0.2 * np.exp(noise))
    assert choose(straight, by="bic").breaks == 0


def test_double_descent_of_translation(scaling):
    with scaling("double_descent/nlp-model-dd.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    points = Points(x=[row["n"] for row in rows], loss=[row["test_loss"] for row in rows])
    found = fit(DOUBLE_DESCENT, points, loss=SQUARES)
    theta = found.theta
    assert theta["c0"] > 0 > theta["c0"] + theta["c1"]
    assert theta["c0"] + theta["c1"] + theta["c2"] > 0
    # It turns where the points do: down to about 80, up to about 200, down again.
    at = np.geomspace(8, 512, 2000)
    turns = at[1:-1][np.diff(np.sign(np.diff(found.predict({"x": at})))) != 0]
    assert len(turns) == 2 and 50 < turns[0] < 120 < turns[1] < 260
    assert not outside(found)
    plain = fit(law("power-floor"), points, loss=SQUARES)
    assert found.objective < plain.objective / 10


def test_what_cannot_be_chosen_is_said():
    with pytest.raises(LawError, match="0 to 9 breaks, not 10"):
        bnsl(10)
    with pytest.raises(LawError, match="4 points are too few"):
        choose(Points(x=[1, 2, 3, 4], loss=[4, 3, 2, 1]))


def test_zero_breaks_are_a_power_law_above_a_floor():
    x = np.geomspace(1, 1e4, 7)
    np.testing.assert_allclose(
        bnsl(0).predict(np.array([0.3, 2.0, 0.2]), {"x": x}),
        law("power-floor").predict(np.array([2.0, 0.2, 0.3]), {"x": x}),
    )


def test_the_shifted_power_law():
    theta, x = np.array([40.0, 0.3, 0.4, 1e-5]), np.geomspace(1e2, 1e7, 20)
    np.testing.assert_allclose(SHIFTED.predict(theta, {"x": x}), 40 * (1 / x + 1e-5) ** 0.3 + 0.4)
    found = SHIFTED.gradient(theta, {"x": x})
    for j, h in enumerate(np.diag(1e-6 * theta)):
        above, below = (SHIFTED.predict(theta + sign * h, {"x": x}) for sign in (1, -1))
        np.testing.assert_allclose(found[j], (above - below) / (2 * h[j]), rtol=1e-6)
    back = fit(SHIFTED, Points(x=x, loss=SHIFTED.predict(theta, {"x": x})))
    np.testing.assert_allclose(back.vector, theta, rtol=1e-6)


@pytest.fixture(scope="module")
def tasks(scaling):
    return read_tasks(scaling(f"revisiting_nsl/benchmark.{name}.csv") for name in ("vision", "lang"))


def test_the_92_tasks_are_read(tasks):
    domains = [task.domain for task in tasks]
    assert {d: domains.count(d) for d in set(domains)} == {"IC": 72, "NMT": 5, "LM": 5, "BB": 10}
    for task in tasks:
        assert task.near.size and task.far.size and task.near["x"].max() <= task.far["x"].min()


@pytest.mark.slow
def test_broken_laws_extrapolate_better_than_power_laws_on_translation_and_language(tasks):
    some = [task for task in tasks if task.domain in ("NMT", "LM")]
    table = summary([score(task) for task in some])
    assert table["bnsl"].mean < table["power"].mean
    assert table["bnsl"].best + 1e-9 >= table["power"].best


def test_breaks_are_told_in_the_order_in_which_they_lie():
    """Of two breaks exchanged the law says the same, and so does the fit."""
    law = bnsl(2)
    theta = np.array([0.4, 5.0, 0.1, -0.5, 2e4, 0.3, 0.6, 3e2, 0.2])
    told, points = law.arrange(theta), {"x": np.geomspace(10, 1e6, 30)}
    assert told.tolist() == [0.4, 5.0, 0.1, 0.6, 3e2, 0.2, -0.5, 2e4, 0.3]
    np.testing.assert_allclose(law.predict(told, points), law.predict(theta, points), rtol=1e-12)
    assert law.arrange(np.stack([theta, told])).tolist() == [told.tolist()] * 2
