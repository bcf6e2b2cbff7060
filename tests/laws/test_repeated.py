"""Repeated data: the 182 published runs, and what they do not say."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from danlu.laws import Points, fit, law, objective
from danlu.laws.formulas.chinchilla import optimum
from danlu.laws.formulas.repeated import effective

LAW = law("data-constrained")
MUENNIGHOFF = LAW.theta("muennighoff")
CHINCHILLA = dict(zip(LAW.names[:5], MUENNIGHOFF[:5], strict=True))  # the paper fits repetition alone


@pytest.fixture(scope="module")
def runs(scaling):
    with scaling("datablations/parametric_fit_182.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {"n": "params", "d": "tokens", "u": "unique_tokens", "loss": "loss"}
    return Points({name: [float(row[title]) for row in rows] for name, title in columns.items()})


def test_the_published_objective(runs):
    assert runs.size == 182
    assert objective(LAW, MUENNIGHOFF, runs) == pytest.approx(0.0158259, abs=1e-7)


def test_the_fit_is_not_above_the_published_objective(runs):
    found = fit(LAW, runs, fixed=CHINCHILLA)
    assert found.converged and found.agreeing_starts > 1
    assert found.objective <= objective(LAW, MUENNIGHOFF, runs) <= 0.015826


def test_the_runs_hardly_say_how_much_repetition_is_worth(runs):
    starts = np.tile(MUENNIGHOFF, (3, 1))
    starts[:, 6] = 0.5, 2.0, 8.0
    profile = [
        fit(LAW, runs, fixed=CHINCHILLA | {"R_D*": star}, starts=starts).objective
        for star in (10.0, 30.0, 100.0, 300.0)
    ]
    assert max(profile) < 1.01 * min(profile)  # from ten to three hundred: within a hundredth
    low = fit(LAW, runs, fixed=CHINCHILLA | {"R_D*": 1.0}, starts=starts).objective
    assert low > 1.1 * min(profile)  # but repetition is worth something


def test_without_repetition_it_is_chinchilla():
    n, d = np.array([1e8, 1e9]), np.array([2e10, 2e11])
    theta = MUENNIGHOFF.copy()
    plain = law("chinchilla").predict(theta[:5], {"n": n, "d": d})
    assert (optimum(theta[:5], 6e20)[0] > 0).all()
    np.testing.assert_allclose(LAW.predict(theta, {"n": n, "d": d, "u": d}), plain, rtol=1e-12)


def test_effective_amounts():
    star = 15.0
    few, endless = effective(1e9, 1.01e9, star), effective(1e9, 1e15, star)
    assert few == pytest.approx(1.01e9, rel=1e-5)  # a first repetition counts in full
    assert endless == pytest.approx(1e9 * (1 + star))  # and all of them for R* in the end
    assert effective(1e9, 1e9, star) == 1e9
