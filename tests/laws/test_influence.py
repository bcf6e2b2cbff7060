"""Rows and clusters left out: closed forms for a line, the published five of Epoch's points."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from danlu.laws import SQUARES, LawError, Points, fit, influence, law
from danlu.laws.doubt import jackknife
from danlu.laws.formulas.chinchilla import CHINCHILLA, optimum
from danlu.laws.formulas.power import POWER

TRUTH = np.array([1.8, 480.0, 2000.0, 0.35, 0.366])


def line(seed=0, size=25):
    x = np.geomspace(1e6, 1e9, size)
    return Points(x=x, loss=20 * x**-0.1 * np.exp(0.01 * np.random.default_rng(seed).standard_normal(size)))


def test_a_line_without_each_row_is_the_closed_form():
    points = line()
    found = fit(POWER, points, loss=SQUARES)
    X = np.stack([np.ones(25), -np.log(points["x"])], axis=-1)
    inverse = np.linalg.inv(X.T @ X)
    hat = np.einsum("ij,jk,ik->i", X, inverse, X)
    beta = inverse @ X.T @ np.log(points["loss"])
    at = np.array([1.0, -np.log(points["x"][-1])])
    said = influence(found)
    assert said.names == ("loss at x = 1e+09",) and len(said.rows) == 25 and not said.clusters
    assert [one.shift for one in said.rows] == sorted((one.shift for one in said.rows), reverse=True)
    for one in said.rows:
        (i,) = one.rows
        # Sherman and Morrison: β without row i is β − (XᵀX)⁻¹xᵢeᵢ/(1 − hᵢ), e = y − Xβ.
        without = beta + inverse @ X[i] * found.residuals[i] / (1 - hat[i])
        assert one.decision[0] == pytest.approx(np.exp(at @ without), rel=1e-7)
        assert one.leverage == pytest.approx(hat[i], rel=1e-6)
        assert one.what == f"data row {i + 1}"


def test_clusters_are_left_out_whole():
    points = line().with_columns(run=np.repeat(np.arange(5.0), 5))
    found = fit(POWER, points, loss=SQUARES)
    said = influence(found, by="run", groups=[("the ends", np.array([0, 24]))])
    known = jackknife(found, by="run").theta
    assert {one.what for one in said.clusters} == {f"run = {i}" for i in range(5)} and said.by == "run"
    for one in said.clusters:
        np.testing.assert_allclose(one.theta, known[int(points["run"][one.rows[0]])], rtol=1e-7)
        assert one.leverage == pytest.approx(sum(influence(found).rows[k].leverage for k in range(25) if
                                                 influence(found).rows[k].rows[0] in one.rows))  # fmt: skip
    (ends,) = said.groups
    inner = fit(POWER, points.take(np.arange(1, 24)), loss=SQUARES)
    np.testing.assert_allclose(ends.theta, inner.vector, rtol=1e-7)


def test_of_many_rows_those_are_kept_that_move_the_fit_most():
    points = line(1, 60)
    found = fit(POWER, points.with_columns(loss=points["loss"] * np.where(np.arange(60) == 58, 1.2, 1.0)))
    every, some = influence(found), influence(found, most=10)
    assert every.rows[0].what == some.rows[0].what == "data row 59"
    assert len(every.rows) == 60 and len(some.rows) == 10


def test_the_first_of_epochs_rows_moves_the_decision_most(scaling):
    # Besiroglu et al. 2024 leave out the five largest losses; with them β is .453, without .367.
    with scaling("epoch_chinchilla/svg_extracted_data.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {"n": "Model Size", "c": "Training FLOP", "loss": "loss"}
    points = Points({name: [float(row[title]) for row in rows] for name, title in columns.items()})
    five = np.argsort(points["loss"])[-5:]
    found = fit(CHINCHILLA, points.with_compute())
    said = influence(found, flops=[1e22, 1e24], groups=[("the five largest losses", five)])
    assert said.rows[0].rows[0] == np.argmax(points["loss"]) and abs(said.rows[0].standardised) > 10
    (group,) = said.groups
    assert found.theta["β"] == pytest.approx(0.453, abs=1e-3)
    assert group.theta[4] == pytest.approx(0.367, abs=1e-3)
    n, d = optimum(group.theta, 1e24)
    assert group.decision[1] == pytest.approx(float(d / n)) and group.shift > said.rows[0].shift
    # Among the sizes, which are what clusters are where nothing is said.
    assert said.by == "sizes" and all(len(one.rows) >= 1 for one in said.clusters)
    assert sorted(np.concatenate([one.rows for one in said.clusters])) == list(range(245))


def test_influence_says_what_it_cannot():
    with pytest.raises(LawError, match="only chinchilla divides a budget"):
        influence(fit(law("power"), line()), flops=[1e22])
    with pytest.raises(LawError, match="there is no column run"):
        influence(fit(law("power"), line()), by="run")
